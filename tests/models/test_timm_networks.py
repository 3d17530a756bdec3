"""timm's ResNets and ResNeXts, by its names of weights and of networks, compute the same here."""

import sys
import types

import keras
import numpy as np
import pytest

from models import build_model
from models.timm_networks import timm_options, timm_state_dict
from models.torch_weights import load_torch_weights

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.once
nn, functional = torch.nn, torch.nn.functional
CLASSES = 7
SE = "se_block(ratio=16, divisor=8)"


def conv(inputs, outputs, size, stride=1, groups=1):
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)


class SEModule(nn.Module):
    """Convolutions with biases; a sixteenth of the channels, as a multiple of 8."""

    def __init__(self, channels):
        super().__init__()
        hidden = max(8, int(channels / 16 + 4) // 8 * 8)
        self.fc1, self.fc2 = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x):
        gate = self.fc2(functional.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class EcaModule(nn.Module):
    """The kernel is adapted to the channels."""

    def __init__(self, channels):
        super().__init__()
        size = {64: 3, 256: 5, 512: 5, 1024: 5, 2048: 7}[channels]
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x):
        gate = self.conv(x.mean((2, 3))[:, None])[:, 0]
        return x * torch.sigmoid(gate)[:, :, None, None]


class BasicBlock(nn.Module):
    """A basic block or a bottleneck; attention is named `se`, whatever it is."""

    def __init__(self, inputs, planes, stride, network):
        super().__init__()
        groups, self.count = network.groups, 3 if network.bottleneck else 2
        width = planes * network.group_width // 64 * groups
        shapes = [(planes, 3, stride, 1), (planes, 3, 1, 1)]
        if network.bottleneck:
            shapes = [(width, 1, 1, 1), (width, 3, stride, groups), (4 * planes, 1, 1, 1)]
        channels = inputs
        for number, (outputs, *options) in enumerate(shapes, 1):
            setattr(self, f"conv{number}", conv(channels, outputs, *options))
            setattr(self, f"bn{number}", nn.BatchNorm2d(outputs))
            channels = outputs
        self.se = network.attention(channels) if network.attention else nn.Identity()
        self.downsample = nn.Identity()
        if stride != 1 or inputs != channels:
            pool, step = nn.Identity(), stride
            if network.pooled and stride != 1:
                pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
            parts = [conv(inputs, channels, 1, step), nn.BatchNorm2d(channels)]
            if network.pooled:
                parts = [pool, conv(inputs, channels, 1), nn.BatchNorm2d(channels)]
            self.downsample = nn.Sequential(*parts)

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = functional.relu(y) if number < self.count else y
        return functional.relu(self.se(y) + self.downsample(x))


class ResNet(nn.Module):
    def __init__(
        self, repeats, bottleneck=True, attention=None, widths=(), pooled=False, groups=1,
        group_width=64,
    ):  # fmt: skip
        super().__init__()
        self.bottleneck, self.attention, self.pooled = bottleneck, attention, pooled
        self.groups, self.group_width = groups, group_width
        self.conv1 = conv(3, 64, 7, 2)
        if widths:
            first, second = widths
            self.conv1 = nn.Sequential(
                conv(3, first, 3, 2), nn.BatchNorm2d(first), nn.ReLU(),
                conv(first, second, 3), nn.BatchNorm2d(second), nn.ReLU(), conv(second, 64, 3),
            )  # fmt: skip
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for stage, count in enumerate(repeats):
            planes, blocks = 64 * 2**stage, []
            for number in range(count):
                stride = 2 if stage and not number else 1
                blocks.append(BasicBlock(channels, planes, stride, self))
                channels = planes * (4 if bottleneck else 1)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, CLASSES)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


SMALL, LARGE = (2, 2, 2, 2), (3, 4, 6, 3)
DEEP, TIERED = {"widths": (32, 32), "pooled": True}, {"widths": (24, 32), "pooled": True}
NETWORKS = {
    "resnet18d": ({"repeats": SMALL, "bottleneck": False, **DEEP}, "layer2.0.downsample.2.bias"),
    "seresnet18": (
        {"repeats": SMALL, "bottleneck": False, "attention": SEModule}, "layer1.0.se.fc1.weight"
    ),
    "seresnet50": ({"repeats": LARGE, "attention": SEModule}, "layer4.2.se.fc2.bias"),
    "ecaresnet50d": ({"repeats": LARGE, "attention": EcaModule, **DEEP}, "layer1.0.se.conv.weight"),
    "ecaresnet50t": ({"repeats": LARGE, "attention": EcaModule, **TIERED}, "conv1.6.weight"),
    "seresnext50_32x4d": (
        {"repeats": LARGE, "attention": SEModule, "groups": 32, "group_width": 4},
        "layer1.0.downsample.0.weight",
    ),
}  # fmt: skip
OF_OURS = {"none": None, "se_block": SE, "eca_block": "eca_block"}


def randomized(network):
    """With the same random values every time, and none that only begin a training."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.ndim == 1:
                low, high = (0.5, 1) if name.endswith("weight") else (-0.1, 0.1)
                value.uniform_(low, high)
            elif value.ndim > 1:
                value.normal_(0, (2 / value[0].numel()) ** 0.5)
    return network.eval()


def our_network(name, **changes):
    """The network that a name says, with changes."""
    options = {**timm_options(f"timm:{name}"), **changes}
    attention = options.pop("attention")
    return build_model(
        options.pop("model"), classes=CLASSES, classifier_activation=None,
        input_shape=(None, None, 3), attention_module=OF_OURS.get(attention, attention), **options,
    )  # fmt: skip


def check_same_outputs(network, model, rng):
    x = rng.normal(size=(2, 97, 75, 3)).astype("float32")  # odd sizes: pools have smaller windows
    with torch.no_grad():
        expected = network(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
    got = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_equal(name, rng):
    options, place = NETWORKS[name]
    network = randomized(ResNet(**options))
    assert place in network.state_dict()
    check_same_outputs(network, load_torch_weights(our_network(name), network.state_dict()), rng)


@pytest.mark.parametrize("name", [*NETWORKS, "seresnet34", "ecaresnet101d"])
def test_outputs_are_those_of_timm(name, rng):
    timm = pytest.importorskip("timm")
    network = randomized(timm.create_model(name, num_classes=CLASSES))
    check_same_outputs(network, load_torch_weights(our_network(name), network.state_dict()), rng)


def from_safetensors(state, path):
    from safetensors.torch import save_file

    save_file(dict(state), path / "model.safetensors")
    return path / "model.safetensors"


def from_pth(state, path):
    torch.save(state, path / "model.pth")
    return path / "model.pth"


@pytest.mark.parametrize("write", [from_safetensors, from_pth])
def test_files(write, tmp_path):
    state = randomized(ResNet(**NETWORKS["seresnet18"][0])).state_dict()
    model = load_torch_weights(our_network("seresnet18"), write(state, tmp_path))
    kernel = model.get_layer("stage1_block1_attention").reduce.kernel
    wanted = state["layer1.0.se.fc1.weight"][:, :, 0, 0].numpy().T
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), wanted)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("seresnet18", {"attention": "se_block(ratio=16)"}, "another ratio or divisor: timm's"),
        ("seresnet18", {"attention": "none"}, r"timm's SE modules, as 'se_block\(ratio=16, div"),
        ("ecaresnet50d", {"attention": "none"}, "timm's ECA modules, as 'eca_block'"),
        ("ecaresnet50d", {"attention": "se_block"}, "timm's ECA modules, as 'eca_block'"),
        ("ecaresnet50d", {"attention": "eca_block(kernel_size=3)"}, "another kernel_size: timm's"),
        ("resnet18d", {"stem": "imagenet"}, "three convolutions in its stem: build .*'deep'"),
        ("resnet18d", {"stem": "tiered"}, "the stem in the file has other channels: 'deep' has"),
        ("resnet18d", {"shortcut": "conv"}, "pools in its shortcuts: build .*shortcut='pool'"),
        ("seresnet18", {"shortcut": "pool"}, "does not pool in its shortcuts: .*shortcut='conv'"),
        ("seresnet18", {"stem": "deep"}, "one convolution in its stem: build .*stem='imagenet'"),
        ("seresnet18", {"attention": "srm_block"}, "timm's SE modules"),
    ],
)
def test_what_the_networks_differ_in_is_said(name, changes, said):
    state = ResNet(**NETWORKS[name][0]).state_dict()
    with pytest.raises(ValueError, match=said) as error:
        load_torch_weights(our_network(name, **changes), state)
    for wrong in ("pre-activation", "have no biases", "have biases"):
        assert wrong not in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        # as in resnetrs50, senet154, resnet50_gn and one with CBAM
        (lambda state: {**state, "maxpool.0.weight": torch.zeros(64, 64, 3, 3)}, "stem's pooling"),
        (
            lambda state: {**state, "layer2.0.downsample.0.weight": torch.zeros(128, 64, 3, 3)},
            "convolutions of 3x3 in its shortcuts, which ours lack",
        ),
        (
            lambda state: {n: v for n, v in state.items() if "running" not in n},
            "does not normalize by batch statistics",
        ),
        (
            lambda state: {**state, "layer1.0.se.channel.fc1.weight": torch.zeros(4, 64, 1, 1)},
            "attention modules other than SE and ECA",
        ),
    ],
)
def test_what_ours_lack_is_said(change, said):
    state = ResNet(SMALL, bottleneck=False).state_dict()
    with pytest.raises(ValueError, match=said):
        load_torch_weights(our_network("resnet18"), change(state))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"model": "resnet", "attention": "none", "depth": 18, "stem": "imagenet"}),
        (
            "ecaresnet101d.miil_in1k",
            {"model": "resnet", "attention": "eca_block", "depth": 101, "stem": "deep",
             "shortcut": "pool"},
        ),
        ("resnet50c", {"model": "resnet", "attention": "none", "depth": 50, "stem": "deep"}),
        (
            "seresnext101_64x4d",
            {"model": "resnext", "attention": "se_block", "depth": 101, "stem": "imagenet",
             "cardinality": 64, "width": 4},
        ),
    ],
)  # fmt: skip
def test_options_of_a_name(name, options):
    assert timm_options(f"timm:{name}") == options


class VisionTransformer(nn.Module):
    pass


class SiLUNetwork(ResNet):
    def __init__(self):
        super().__init__(SMALL, bottleneck=False)
        self.act1 = nn.SiLU()


SiLUNetwork.__name__ = "ResNet"


def blurred():
    network = ResNet(SMALL, bottleneck=False)
    network.layer2[0].aa = nn.AvgPool2d(2)
    return network


@pytest.fixture
def fake_timm(monkeypatch):
    """A module with the functions of timm that are called, and networks without a download."""
    made = {
        "seresnet18": lambda: ResNet(**NETWORKS["seresnet18"][0]),
        "resnetaa50": blurred,
        "resnet50s": SiLUNetwork,
        "vit_tiny": VisionTransformer,
        "wide_resnet50_2": lambda: ResNet(SMALL),
    }

    def create_model(name, pretrained):
        if pretrained and name != "seresnet18.a1":
            raise RuntimeError(f"No connection to {name}\nand a second line")
        return randomized(made[name.partition(".")[0]]())

    module = types.ModuleType("timm")
    module.create_model, module.list_models = create_model, lambda: list(made)
    module.is_model = lambda name: name.partition(".")[0] in made
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


def test_by_name(fake_timm):
    model = load_torch_weights(our_network("seresnet18"), "timm:seresnet18.a1")
    wanted = fake_timm.create_model("seresnet18.a1", True).state_dict()["fc.weight"].numpy().T
    found = keras.ops.convert_to_numpy(model.get_layer("logits").kernel)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("call", "name", "said"),
    [
        (timm_state_dict, "seresnet18", r"timm:seresnet18: No connection to seresnet18 \(a file"),
        (timm_state_dict, "seresnt18", "no network 'seresnt18'; did you mean timm:seresnet18"),
        (timm_state_dict, "resnetaa50", r"anti-aliasing \(AvgPool2d at layer2.0.aa\), which ours"),
        (timm_state_dict, "resnet50s", r"it has SiLU \(at act1\), which ours lack"),
        (timm_state_dict, "vit_tiny", "it is a VisionTransformer, not a ResNet"),
        (timm_options, "resnetaa50", "anti-aliasing"),
        (timm_options, "wide_resnet50_2", "no network such as timm:wide_resnet50_2: NAME in"),
        (timm_options, "seresnet200d", "depth of 18, 34, 50, 101, 152, .*received timm:seresnet2"),
        (timm_options, "resnext29_32x4d", "depth of 50, 101, as ours have"),
    ],
)
@pytest.mark.usefixtures("fake_timm")
def test_names_that_cannot_be_read(call, name, said):
    with pytest.raises(ValueError, match=said) as error:
        call(f"timm:{name}")
    assert "\n" not in str(error.value)


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"^timm:seresnet50 needs timm: pip install timm$"):
        timm_state_dict("timm:seresnet50")
