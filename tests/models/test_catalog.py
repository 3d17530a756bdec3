"""Every attention module in networks: in all places, in all architectures, saved and loaded."""

import itertools

import keras
import numpy as np
import pytest

from models import list_models
from models.attention_module import AttentionLayer, attach_attention_module, list_attention
from models.saving import load_model
from tests.models.layer_cases import CASES
from tests.models.small_networks import CHANNELS, build, places_of, stages_of
from tests.processes import run_python

pytestmark = pytest.mark.once

# options of modules that need a map of known size, for maps of unknown size
FOR_ANY_SIZE = {"botnet_block": {"size": (8, 8)}}
EVERYWHERE = ("block", "stage", "head")


def attention_of(model):
    return [layer for layer in model.layers if isinstance(layer, AttentionLayer)]


def shake(model, rng):
    """Moves every weight a little: zeros and ones would hide that a file lacks them."""
    for weight in model.weights:
        weight.assign(weight + rng.normal(0, 0.05, weight.shape))


# the battery of each layer saves and loads it too
SAMPLE = ("cbam_block", "coordinate_block", "non_local_block", "se_block", "sk_block")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in SAMPLE else [pytest.mark.long])
        for name in list_attention()
    ],
)
def test_by_name_everywhere(name, tmp_path, rng):
    """A network with the module computes the same after it was saved and loaded."""
    # logits: a softmax of large ones would be the same for many networks
    options = {"attention_at": EVERYWHERE, "classifier_activation": None}
    model = build("resnet_v1", attention_module=name, **options)
    attention = attention_of(model)
    assert len(attention) == 3 + 2 + 1
    assert len({type(layer) for layer in attention}) == 1
    shake(model, rng)
    x = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    y = keras.ops.convert_to_numpy(model(x))
    assert np.isfinite(y).all()
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    y_again = keras.ops.convert_to_numpy(again(x))
    np.testing.assert_allclose(y_again, y, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(name, marks=[] if name in ("mobilenet", "resnet_v1") else [pytest.mark.long])
        for name in list_models()
    ],
)
def test_every_module_in(architecture, rng):
    """Networks whose places the modules take in turn, as many as give every module a place."""
    sites = len(CHANNELS[architecture]) + 1
    if not places_of(architecture)[2]:
        sites += len(stages_of(architecture)[1])
    x = rng.normal(size=(1, 32, 32, 3)).astype("float32")
    names, placed = itertools.cycle(list_attention()), []

    def attend(x, name):
        placed.append(next(names))
        return attach_attention_module(x, placed[-1], name=name)

    while len(placed) < len(list_attention()):
        before = len(placed)
        model = build(architecture, attention_module=attend, attention_at=EVERYWHERE)
        assert len(attention_of(model)) == len(placed) - before == sites
        assert np.isfinite(keras.ops.convert_to_numpy(model(x))).all()
    assert set(placed) == set(list_attention())


@pytest.mark.long
def test_loads_in_a_fresh_process(tmp_path, rng):
    """Every layer, saved in a model and loaded under safe mode elsewhere, computes the same."""
    inputs = keras.Input((None, None, 16))
    outputs = {
        name: attach_attention_module(inputs, name, **FOR_ANY_SIZE.get(name, {}))
        for name in list_attention()
    }
    for number, (layer_class, options, _) in enumerate(CASES):
        outputs[f"{layer_class.__name__} {number}"] = layer_class(**options)(inputs)
    model = keras.Model(inputs, outputs)
    shake(model, rng)
    x = rng.normal(size=(2, 6, 5, 16)).astype("float32")
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "wanted.npz", x=x, **model.predict(x, verbose=0))
    script = (
        "import sys, numpy as np, keras, models.attention_module\n"
        "model = keras.saving.load_model(sys.argv[1] + '/model.keras', safe_mode=True)\n"
        "wanted = dict(np.load(sys.argv[1] + '/wanted.npz'))\n"
        "outputs = model.predict(wanted.pop('x'), verbose=0)\n"
        "assert outputs.keys() == wanted.keys()\n"
        "for name, y in outputs.items():\n"
        "    np.testing.assert_allclose(y, wanted[name], atol=1e-6, err_msg=name)\n"
        "print('all the same')\n"
    )
    done = run_python("-c", script, tmp_path)
    assert done.stdout.strip() == "all the same", done.stderr
