"""What `import attention_zoo` (here: `models`) gives."""

import inspect

import pytest

import models
from models import attention_module, surgery
from tests.processes import run_python

pytestmark = pytest.mark.once


def test_names_are_those_of_their_files():
    assert models.CBAM is attention_module.CBAM
    assert models.add_attention is surgery.add_attention
    assert {*attention_module.__all__, "build_model", "list_models", "load_model"} <= {*dir(models)}
    with pytest.raises(AttributeError, match="'models' has no attribute 'cbam'"):
        _ = models.cbam
    with pytest.raises(ImportError, match="cannot import name 'keras'"):
        from models import keras  # noqa: F401


def test_a_star_imports_the_public_names_alone():
    names = {}
    exec("from models import *", names)
    found = {name for name in names if not name.startswith("_")}
    assert {"CBAM", "cbam_block", "add_attention", "build_model", "list_models"} <= found
    assert found == {name for name in dir(models) if not name.startswith("_")}
    assert not found & {"difflib", "sys", "Any"}


@pytest.mark.parametrize(
    "before",
    [
        "import models.pretrained",
        "from models import add_attention",
        *(
            pytest.param(script, marks=pytest.mark.long)
            for script in (
                "",
                "import models.surgery",
                "import contextlib\nwith contextlib.suppress(ValueError): models.build_model('no')",
            )
        ),
    ],
)
def test_keras_knows_the_layers_however_they_are_imported(before):
    script = "import models\n{}\nimport keras\nprint(keras.saving.get_registered_object({!r}))"
    done = run_python("-c", script.format(before, "attention_zoo>CBAM"))
    assert done.stdout.endswith(".CBAM'>\n"), done


def test_public_functions_and_layers_have_types():
    public = [getattr(models, name) for name in dir(models) if not name.startswith("_")]
    architectures = map(models.architecture, models.list_models())
    for thing in filter(callable, [*public, *architectures]):
        function = inspect.unwrap(thing.__init__ if inspect.isclass(thing) else thing)
        if not getattr(function, "__module__", "").startswith("models"):
            continue  # a constructor of Keras's, or what types are made of
        wanted = {*inspect.signature(function).parameters, "return"} - {"self"}
        assert wanted <= function.__annotations__.keys(), thing
