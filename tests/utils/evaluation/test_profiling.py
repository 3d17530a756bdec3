"""The costs of attention modules, compared with the network without."""

import pytest

from models import build_model
from utils.config.command_settings import ProfileSettings
from utils.evaluation.counting import trainable_params
from utils.evaluation.profiling import cost_table, profile
from utils.system.errors import UserError


def test_profile_of_modules():
    settings = ProfileSettings(depth=8, attention="cbam_block,se_block", ratio=4, rounds=0)
    costs = profile(settings)
    assert list(costs) == ["none", "cbam_block(ratio=4)", "se_block(ratio=4)"]
    base, cbam, se = costs["none"], costs["cbam_block(ratio=4)"], costs["se_block(ratio=4)"]
    assert se.latency is se.training_step is None
    assert base.params == trainable_params(build_model("resnet_v1", depth=8))
    gates = sum(2 * c * (c // 4) + c // 4 + c + 98 for c in (16, 32, 64))
    assert cbam.params - base.params == gates
    assert cbam.multiply_adds > base.multiply_adds
    assert cbam.activation_bytes > base.activation_bytes
    assert [line.split()[0] for line in cost_table(costs).splitlines()[1:]] == list(costs)


@pytest.mark.once
def test_profile_times_in_turn(capsys):
    costs = profile(ProfileSettings(depth=8, attention="se_block", rounds=1, batch_size=2))
    assert costs["none"].latency == costs["none"].training_step == 1
    assert costs["se_block"].latency > 0
    assert costs["se_block"].training_step > 0


def test_profile_refuses_what_a_module_cannot_take():
    with pytest.raises(UserError, match="no option 'kernel_size'"):
        profile(ProfileSettings(depth=8, attention="se_block", kernel_size=3))
    with pytest.raises(UserError, match="name the modules with --attention"):
        profile(ProfileSettings(depth=8, ratio=4))
    with pytest.raises(UserError, match="unknown attention module 'xyz'"):
        profile(ProfileSettings(attention="xyz"))
