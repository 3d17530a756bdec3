"""The examples of docs/pretrained.md, with random weights in the place of ImageNet's."""

import re
import sys

import keras
import numpy as np
import pytest

import models
from tests.processes import ROOT

pytestmark = pytest.mark.once

PAGE = (ROOT / "docs" / "pretrained.md").read_text("utf-8")
EXAMPLES = re.findall(r"## (\w+) \+ \w+\n\n```python\n(.*?)```", PAGE, re.DOTALL)
# example -> how many attention layers there are
ATTENDED = {"ResNet50": 16, "MobileNetV2": 16, "VGG16": 5}


def test_all_examples_are_found():
    assert [name for name, _ in EXAMPLES] == list(ATTENDED)
    assert all(len(code.strip().splitlines()) <= 11 for _, code in EXAMPLES)


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=list(ATTENDED))
def test_an_example_starts_at_the_pretrained_network(name, code, monkeypatch, rng):
    monkeypatch.setitem(sys.modules, "attention_zoo", models)
    code = code.replace('weights="imagenet"', "weights=None").replace(
        "(224, 224, 3)", "(64, 64, 3)"
    )
    found = {}
    exec(code, found)
    old, new, model = found["net"], found["backbone"], found["model"]
    attention = [layer for layer in new.layers if layer.name.endswith("_attention")]
    assert len(attention) == ATTENDED[name]
    images = rng.normal(size=(2, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(new(images)), keras.ops.convert_to_numpy(old(images)),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    assert model.output_shape == (None, 5)
    learning = {id(weight) for layer in attention for weight in layer.trainable_weights}
    assert {id(weight) for weight in new.trainable_weights} == learning
    assert "`backbone.trainable = False` and then\n`backbone.trainable = True`" in PAGE
    new.trainable = False
    new.trainable = True
    assert len(new.trainable_weights) == len(old.trainable_weights) + len(learning)


def test_the_place_of_the_paper():
    assert 'at="conv*_block*_3_bn"' in PAGE
    net = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), include_top=False)
    model = models.add_attention(net, "se_block", at="conv*_block*_3_bn", start="standard")
    added = [layer for layer in model.layers if layer.name.endswith("_attention")]
    assert len(added) == 16
    added_up = model.get_layer("conv2_block1_add").input
    assert any(tensor is added[0].output for tensor in added_up)
