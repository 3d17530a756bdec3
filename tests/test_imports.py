"""Imports run one way and without circles; backends and packages are imported where they may be."""

import ast
import fnmatch
import graphlib
import re
import sys
import tomllib

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.once

# a package of `utils` imports only itself and those before it
ORDER = (
    "system", "plots", "data", "config", "runs", "feeding", "evaluation", "predict", "training",
    "explain", "compare", "demo",
)  # fmt: skip
BACKENDS = {"tensorflow", "jax", "torch"}
BACKEND_FILES = (
    "utils/system/backend*.py", "utils/system/export_formats.py", "models/fast/",
    "models/private_api.py", "models/gradients.py", "models/torch_weights.py",
)  # fmt: skip
# packages that are installed under another name, or along with another
INSTALLED_AS = {
    "PIL": "pillow", "sklearn": "scikit-learn", "absl": "grain", "mlflow": "mlflow-skinny",
}  # fmt: skip

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in [ROOT / "main.py", *ROOT.glob("models/**/*.py"), *ROOT.glob("utils/**/*.py")]
}


def imports_of(module):
    """Yields the name of everything that a file imports, and whether at module level."""
    path = FILES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]

    def visit(node, at_module_level):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, at_module_level
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            parents = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*parents, node.module] if node.module else parents)
            for alias in node.names:  # a module in the package, or what else is in it
                inner = f"{base}.{alias.name}"
                yield inner if inner in FILES else base, at_module_level
        lazy = isinstance(node, ast.FunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        )
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_module_level and not lazy)

    return visit(ast.parse(path.read_text("utf-8")), True)


IMPORTS = {module: set(imports_of(module)) for module in FILES}


def top(name):
    return name.partition(".")[0]


def rank(module):
    """The place of a module in the order of imports: those that it imports rank no higher."""
    if top(module) == "utils":
        return 1 + ORDER.index(module.split(".")[1]) if "." in module else 0
    return {"models": 0, "main": 1 + len(ORDER)}[top(module)]


def test_imports_run_one_way():
    upward = [
        f"{module} imports {name}"
        for module, found in IMPORTS.items()
        for name, _ in found
        if top(name) in ("main", "models", "utils")
        and (rank(name) > rank(module) or (top(module), top(name)) == ("models", "utils"))
    ]
    assert not upward
    assert {top(name) for name, _ in IMPORTS["main"]} - sys.stdlib_module_names == {"utils"}


def test_no_circle_at_module_level():
    graph = {
        module: {name for name, at_module_level in found if at_module_level and name in FILES}
        for module, found in IMPORTS.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises a CycleError that names the circle


def test_backends_are_imported_in_the_places_that_contributing_names():
    contributing = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert [place for place in BACKEND_FILES if f"`{place}`" not in contributing] == []
    elsewhere = [
        f"{module} imports {name}"
        for module, found in IMPORTS.items()
        for name, _ in found
        if top(name) in BACKENDS
        and not any(fnmatch.fnmatch(FILES[module], f"{ROOT}/{place}*") for place in BACKEND_FILES)
    ]
    assert not elsewhere


def packages(requirements):
    """The names of the packages in requirements such as `keras>=3.15.1`, in one spelling."""
    return {re.match(r"[\w-]+", text)[0].replace("_", "-") for text in requirements}


def test_packages_are_required_or_in_an_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {name: packages(found) for name, found in project["optional-dependencies"].items()}
    library = packages(project["dependencies"]).union(*extras.values())
    bench = library | packages((ROOT / "requirements.txt").read_text("utf-8").split())
    for module, found in IMPORTS.items():
        others = {top(name) for name, _ in found} - sys.stdlib_module_names
        others = packages(INSTALLED_AS.get(n, n) for n in others - {"main", "models", "utils"})
        assert others <= (library if top(module) == "models" else bench), module
    ((_, names),) = re.findall(r"(.*)\[(.*)\]", *project["optional-dependencies"]["all"])
    assert {*names.split(",")} == extras.keys() - {"all", "timm"} - BACKENDS
