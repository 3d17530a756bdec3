"""CIFAR ResNets of well-known PyTorch code, by its names of weights, give the same outputs here."""

from collections import OrderedDict

import keras
import numpy as np
import pytest

from models import build_model
from models.torch_weights import load_torch_weights

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.once
nn, functional = torch.nn, torch.nn.functional
CLASSES = 7


def conv(inputs, outputs, size=3, stride=1, bias=False):
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=bias)


class ConvNorm(nn.Module):
    """A convolution and its normalization, as pytorchcv names them."""

    def __init__(self, *shape):
        super().__init__()
        self.conv, self.bn = conv(*shape), nn.BatchNorm2d(shape[1])

    def forward(self, x):
        return self.bn(self.conv(x))


class SELayer(nn.Module):
    """moskomule's: dense layers without biases."""

    def __init__(self, channels):
        super().__init__()
        hidden = channels // 16
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class SEBlock(nn.Module):
    """pytorchcv's: convolutions with biases."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = conv(channels, channels // 16, 1, bias=True)
        self.conv2 = conv(channels // 16, channels, 1, bias=True)

    def forward(self, x):
        gate = self.conv2(functional.relu(self.conv1(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class SRMLayer(nn.Module):
    """EvgenyKashin's: a convolution over mean and deviation, channel by channel."""

    def __init__(self, channels):
        super().__init__()
        self.cfc = nn.Conv1d(channels, channels, 2, groups=channels, bias=False)
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x):
        style = torch.stack([x.mean((2, 3)), x.flatten(2).std(-1)], dim=-1)
        return x * torch.sigmoid(self.bn(self.cfc(style)))[..., None]


class ECALayer(nn.Module):
    """ECA-Net's."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        gate = self.conv(x.mean((2, 3))[:, None])[:, 0]
        return x * torch.sigmoid(gate)[:, :, None, None]


class ZeroPadded(nn.Module):
    """Option A of the paper: every second pixel, and channels of zeros on both sides."""

    def __init__(self, outputs):
        super().__init__()
        self.added = outputs // 4

    def forward(self, x):
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added, self.added))


def norm_shortcut(inputs, outputs, stride):
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """A basic block, with its parts under the names that torchvision gave them first."""

    def __init__(self, inputs, outputs, stride, shortcut, make_shortcut, attention):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs), nn.BatchNorm2d(outputs)
        self.parts = [shortcut, *attention]
        identity = nn.Identity()
        setattr(
            self,
            shortcut,
            identity if inputs == outputs else make_shortcut(inputs, outputs, stride),
        )
        for name, module in attention.items():
            setattr(self, name, module(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        shortcut, *attention = (getattr(self, name) for name in self.parts)
        for module in attention:
            y = module(y)
        return functional.relu(y + shortcut(x))


class Unit(nn.Module):
    """A block of pytorchcv, basic or with a bottleneck."""

    def __init__(self, inputs, outputs, stride, attention, bottleneck):
        super().__init__()
        inner = outputs // 4
        shapes = [(inputs, outputs, 3, stride), (outputs, outputs)]
        if bottleneck:
            shapes = [(inputs, inner, 1), (inner, inner, 3, stride), (inner, outputs, 1)]
        self.body = nn.Sequential(
            OrderedDict((f"conv{n}", ConvNorm(*shape)) for n, shape in enumerate(shapes, 1))
        )
        self.se = attention(outputs) if attention else nn.Identity()
        self.identity_conv = nn.Identity()
        if inputs != outputs:
            self.identity_conv = ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x):
        *first, last = self.body
        y = x
        for part in first:
            y = functional.relu(part(y))
        return functional.relu(self.se(last(y)) + self.identity_conv(x))


def stages(make_block, blocks=2, widths=(16, 32, 64)):
    channels, found = 16, []
    for number, width in enumerate(widths):
        made = []
        for block in range(blocks):
            made.append(make_block(channels, width, 2 if number and not block else 1))
            channels = width
        found.append(made)
    return found


class ByLayer(nn.Module):
    """A network with `conv1`, `bn1`, `layer1` to `layer3` and a classifier."""

    def __init__(
        self, head="fc", shortcut="downsample", make_shortcut=norm_shortcut, attention=None
    ):
        super().__init__()
        self.conv1, self.bn1, self.head = conv(3, 16), nn.BatchNorm2d(16), head

        def block(*shape):
            return Block(*shape, shortcut, make_shortcut, attention or {})

        for number, made in enumerate(stages(block), 1):
            setattr(self, f"layer{number}", nn.Sequential(*made))
        setattr(self, head, nn.Linear(64, CLASSES))

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return getattr(self, self.head)(x.mean((2, 3)))


class InitBlock(ConvNorm):
    def forward(self, x):
        return functional.relu(super().forward(x))


class ByFeatures(nn.Module):
    """A network as pytorchcv has it for CIFAR."""

    def __init__(self, attention=None, bottleneck=False):
        super().__init__()
        widths = (64, 128, 256) if bottleneck else (16, 32, 64)
        self.features = nn.Sequential(OrderedDict(init_block=InitBlock(3, 16)))
        made = stages(lambda *shape: Unit(*shape, attention, bottleneck), widths=widths)
        for number, units in enumerate(made, 1):
            named = OrderedDict((f"unit{n}", unit) for n, unit in enumerate(units, 1))
            self.features.add_module(f"stage{number}", nn.Sequential(named))
        self.output = nn.Linear(widths[-1], CLASSES)

    def forward(self, x):
        return self.output(self.features(x).mean((2, 3)))


def randomized(network):
    """With normalization statistics and gates that are not the initial ones."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
                value.uniform_(0.5, 1.5)
            elif value.ndim == 1:
                value.normal_(0, 0.1)
    return network.eval()


def our_network(attention=None, depth=14):
    return build_model(
        "resnet_v1",
        depth=depth,
        classes=CLASSES,
        classifier_activation=None,
        input_shape=(None, None, 3),
        attention_module=attention,
    )


OPTION_A = {"head": "linear", "shortcut": "shortcut",
            "make_shortcut": lambda inputs, outputs, stride: ZeroPadded(outputs)}  # fmt: skip
NETWORKS = {
    "chenyaofo": (lambda: ByLayer(), {}, "layer2.0.downsample.1.running_mean"),
    "akamaster": (lambda: ByLayer(**OPTION_A), {}, "linear.bias"),
    "akamaster, option B": (
        lambda: ByLayer(head="linear", shortcut="shortcut"), {}, "layer2.0.shortcut.0.weight"
    ),
    "moskomule": (
        lambda: ByLayer(attention={"se": SELayer}),
        {"attention": "se_block(ratio=16, use_bias=False)"}, "layer1.0.se.fc.2.weight",
    ),
    "ECA-Net": (
        lambda: ByLayer(attention={"eca": ECALayer}),
        {"attention": "eca_block(kernel_size=3)"}, "layer1.0.eca.conv.weight",
    ),
    "EvgenyKashin": (
        lambda: ByLayer(attention={"layer_block": SRMLayer}),
        {"attention": "srm_block"}, "layer1.0.layer_block.cfc.weight",
    ),
    "EvgenyKashin, the trained file": (
        lambda: ByLayer(attention={"se": SRMLayer}),
        {"attention": "srm_block"}, "layer1.0.se.cfc.weight",
    ),
    "EvgenyKashin, SE": (
        lambda: ByLayer(attention={"layer_block": SELayer}),
        {"attention": "se_block(ratio=16, use_bias=False)"}, "layer1.0.layer_block.fc.2.weight",
    ),
    "pytorchcv": (lambda: ByFeatures(), {}, "features.stage2.unit1.identity_conv.conv.weight"),
    "pytorchcv, SE": (
        lambda: ByFeatures(SEBlock),
        {"attention": "se_block(ratio=16)"}, "features.stage1.unit1.se.conv1.bias",
    ),
    "pytorchcv, bottlenecks": (
        lambda: ByFeatures(SEBlock, bottleneck=True),
        {"attention": "se_block(ratio=16)", "depth": 20},
        "features.stage1.unit2.body.conv3.bn.bias",
    ),
}  # fmt: skip


@pytest.mark.parametrize("code", NETWORKS)
def test_outputs_are_equal(code, rng):
    make, ours, name = NETWORKS[code]
    network = randomized(make())
    assert name in network.state_dict()
    x = rng.normal(size=(2, 32, 28, 3)).astype("float32")
    with torch.no_grad():
        expected = network(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
    model = load_torch_weights(network_of(ours), network.state_dict())
    got = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_parameters_of_srm_resnet32():
    """469,146, as its author counts them."""
    model = build_model("resnet_v1", depth=32, attention_module="srm_block", classes=10)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 469_146


def network_of(ours):
    if ours.get("depth") == 20:
        return build_model(
            "resnet_v1", depth=20, block="bottleneck", classes=CLASSES, classifier_activation=None,
            input_shape=(None, None, 3), attention_module=ours["attention"],
        )  # fmt: skip
    return our_network(**ours)


def test_shortcuts_are_missed_where_the_code_has_weights_for_them():
    """Only akamaster's may be without: of others a file without them is damaged."""
    state = {n: v for n, v in ByLayer().state_dict().items() if "downsample" not in n}
    with pytest.raises(ValueError, match=r"missing layer2\.0\.downsample\.0\.weight"):
        load_torch_weights(our_network(), state)
    state = ByLayer(head="linear", shortcut="shortcut").state_dict()
    del state["layer3.0.shortcut.0.weight"]
    with pytest.raises(ValueError, match=r"missing layer3\.0\.shortcut\.0\.weight$"):
        load_torch_weights(our_network(), state)


def preactivated(state):
    """As moskomule's pre-activation network has it: shortcuts without normalization."""
    return {name: value for name, value in state.items() if "downsample.1" not in name}


@pytest.mark.parametrize(
    ("code", "ours", "change", "said"),
    [
        ("moskomule", "se_block(ratio=16)", dict, r"have no biases: build .*use_bias=False"),
        ("pytorchcv, SE", "se_block(ratio=16, use_bias=False)", dict, "have biases: build"),
        ("moskomule", None, dict, r"has SE modules, as 'se_block\(ratio=16\)'"),
        ("pytorchcv, SE", "se_block(ratio=4)", dict, "SE modules in the file have another ratio"),
        ("ECA-Net", None, dict, r"has ECA modules, as 'eca_block\(kernel_size=3\)'"),
        ("ECA-Net", "eca_block(kernel_size=5)", dict, "have another kernel_size"),
        ("EvgenyKashin", None, dict, "has SRM modules, as 'srm_block'"),
        ("EvgenyKashin, the trained file", "se_block", dict, "has SRM modules, as 'srm_block'"),
        ("EvgenyKashin, SE", "srm_block", dict, r"has SE modules, as 'se_block\(ratio=16\)'"),
        ("chenyaofo", None, preactivated, r"normalizes before its convolutions \(pre-activation"),
        ("moskomule", "channel_attention(ratio=16, use_bias=False)", dict, "no counterpart"),
    ],
)
def test_what_the_networks_differ_in_is_said(code, ours, change, said):
    state = change(NETWORKS[code][0]().state_dict())
    model = our_network(ours)
    before = model.get_weights()
    with pytest.raises(ValueError, match=said):
        load_torch_weights(model, state)
    for new, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(new, old)
