"""Every public function of `utils/` says the types of its arguments and of what it returns."""

import ast
from pathlib import Path

import pytest

UTILS = Path(__file__).parents[1] / "utils"
PACKAGES = sorted(path.parent.name for path in UTILS.glob("*/__init__.py"))


def public_functions(tree):
    """Yields the public functions of a module, and the methods of its public classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and is_public(node.name):
            yield node.name, node, False
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and is_public(method.name):
                    static = any(
                        isinstance(decorator, ast.Name) and decorator.id == "staticmethod"
                        for decorator in method.decorator_list
                    )
                    yield f"{node.name}.{method.name}", method, not static


def is_public(name):
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def without_types(function, is_method):
    """The names of a function's arguments without a type, and `return`."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args][is_method:]  # without self or cls
    named += [*arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    missing = [argument.arg for argument in named if argument and not argument.annotation]
    return missing if function.returns else [*missing, "return"]


@pytest.mark.once
@pytest.mark.parametrize("package", PACKAGES)
def test_public_functions_have_types(package):
    untyped = [
        f"{path.name}:{function.lineno} {name}: {', '.join(missing)}"
        for path in sorted((UTILS / package).rglob("*.py"))
        for name, function, is_method in public_functions(ast.parse(path.read_text()))
        if (missing := without_types(function, is_method))
    ]
    assert not untyped, "\n".join(untyped)


@pytest.mark.once
def test_the_test_sees_what_is_missing():
    source = (
        "def f(a: int, b, *c, d=1, **e): pass\n"
        "def _g(a): pass\n"
        "class C:\n"
        "    def __init__(self, a): pass\n"
        "    @staticmethod\n"
        "    def m(a) -> int: pass\n"
        "    def n(self, a: int) -> int: pass\n"
    )
    found = {name: without_types(*rest) for name, *rest in public_functions(ast.parse(source))}
    assert found == {
        "f": ["b", "d", "c", "e", "return"],
        "C.__init__": ["a", "return"],
        "C.m": ["a"],
        "C.n": [],
    }
