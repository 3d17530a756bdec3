"""What `import attention_zoo` (here: `models`) gives."""

import inspect

import pytest

import models
from models import attention_module, surgery

pytestmark = pytest.mark.once


def test_names_are_those_of_their_files():
    assert models.CBAM is attention_module.CBAM
    assert models.add_attention is surgery.add_attention
    assert {*attention_module.__all__, "build_model", "list_models", "load_model"} <= {*dir(models)}
    with pytest.raises(AttributeError, match="'models' has no attribute 'cbam'"):
        _ = models.cbam
    with pytest.raises(ImportError, match="cannot import name 'keras'"):
        from models import keras  # noqa: F401


def test_public_functions_and_layers_have_types():
    public = [getattr(models, name) for name in dir(models) if not name.startswith("_")]
    architectures = map(models.architecture, models.list_models())
    for thing in filter(callable, [*public, *architectures]):
        function = inspect.unwrap(thing.__init__ if inspect.isclass(thing) else thing)
        if not getattr(function, "__module__", "").startswith("models"):
            continue  # a constructor of Keras's, or what types are made of
        wanted = {*inspect.signature(function).parameters, "return"} - {"self"}
        assert wanted <= function.__annotations__.keys(), thing
