"""Numbers of whatever library are taken, and kept as Python's; what is no number is refused."""

import json
from fractions import Fraction

import keras
import numpy as np
import pytest

from models.attention_module import CBAM, GCT, BoTNet, SimAM, cbam_block
from models.checks import require_finite, require_int, require_number
from models.private_api import operation_of

pytestmark = pytest.mark.once

REFUSED = [True, False, np.True_, None, "2", float("nan"), float("inf"), 2j, (2,), np.array([2, 2])]


@pytest.mark.parametrize("value", [8, 8.0, np.int64(8), np.float32(8), np.array(8), Fraction(8)])
@pytest.mark.parametrize("require", [require_int, require_number, require_finite])
def test_takes_numbers(require, value):
    number = require("ratio", value)
    assert type(number) in (int, float)
    assert number == 8


@pytest.mark.parametrize("value", REFUSED, ids=repr)
@pytest.mark.parametrize("require", [require_int, require_number, require_finite])
def test_refuses_what_is_no_number(require, value):
    with pytest.raises(ValueError, match=r"ratio must be an? .*received"):
        require("ratio", value)


@pytest.mark.parametrize(
    ("require", "value", "message"),
    [
        (require_int, 0, "an integer of at least 1, received 0"),
        (require_int, 2.5, "an integer of at least 1, received 2.5"),
        (lambda n, v: require_int(n, v, odd=True), 4, "an odd integer of at least 1, received 4"),
        (require_number, 0, "a number above 0, received 0"),
        pytest.param(require_number, 10**400, "a number above 0, received 1000", id="too large"),
        (
            lambda n, v: require_number(n, v, most=1),
            1.5,
            "a number above 0 and at most 1, received",
        ),
        pytest.param(require_finite, -(10**400), "a finite number, received -", id="too small"),
    ],
)
def test_refuses_what_is_out_of_range(require, value, message):
    with pytest.raises(ValueError, match=f"^c must be {message}"):
        require("c", value)


@pytest.mark.parametrize(
    ("layer_class", "option", "given", "value"),
    [
        (SimAM, "e_lambda", np.float32(0.25), 0.25),
        (GCT, "c", np.int64(2), 2),
        (BoTNet, "size", np.array([8, 6]), [8, 6]),
        (BoTNet, "size", np.int64(8), [8, 8]),
        pytest.param(CBAM, "ratio", 10**400, 10**400, id="no float"),
    ],
)
def test_a_configuration_is_json(layer_class, option, given, value):
    config = layer_class(**{option: given}).get_config()
    assert json.loads(json.dumps(config))[option] == value


def test_refuses_them_as_options_of_layers():
    with pytest.raises(ValueError, match="c must be a number above 0, received True"):
        GCT(c=True)
    with pytest.raises(ValueError, match="size must be a height and a width, received"):
        BoTNet(size=np.array([8, 8, 8]))


def test_a_ratio_above_all_channels_leaves_one_unit():
    layer = operation_of(cbam_block(keras.Input((4, 4, 8)), ratio=10**400))
    assert layer.channel.reduce.units == 1
