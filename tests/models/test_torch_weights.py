"""PyTorch's ResNets, with the CBAM authors' attention and without, give the same outputs here."""

import zipfile
from collections import OrderedDict
from functools import partial

import keras
import numpy as np
import pytest

from models import build_model
from models.attention_module import CBAM_OFFICIAL, cbam_block
from models.torch_names import torch_name
from models.torch_weights import load_torch_weights, read_state_dict

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.once
nn, functional = torch.nn, torch.nn.functional


class Flatten(nn.Module):
    def forward(self, x):
        return x.reshape(len(x), -1)


class ChannelGate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        hidden = channels // 16
        self.mlp = nn.Sequential(
            Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )

    def forward(self, x):
        pooled = (functional.adaptive_avg_pool2d(x, 1), functional.adaptive_max_pool2d(x, 1))
        return x * torch.sigmoid(sum(map(self.mlp, pooled)))[:, :, None, None]


class BasicConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(1)


class SpatialGate(nn.Module):
    def __init__(self):
        super().__init__()
        self.spatial = BasicConv()

    def forward(self, x):
        maps = torch.stack([x.amax(1), x.mean(1)], dim=1)
        return x * torch.sigmoid(self.spatial.bn(self.spatial.conv(maps)))


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.ChannelGate = ChannelGate(channels)
        self.SpatialGate = SpatialGate()

    def forward(self, x):
        return self.SpatialGate(self.ChannelGate(x))


class BAM(nn.Module):
    """The authors' module under the authors' names; their pooling assumes square maps."""

    def __init__(self, channels):
        super().__init__()
        hidden = channels // 16
        conv = partial(nn.Conv2d, hidden, hidden, 3, padding=4, dilation=4)
        channel = {
            "flatten": Flatten(),
            "gate_c_fc_0": nn.Linear(channels, hidden),
            "gate_c_bn_1": nn.BatchNorm1d(hidden),
            "gate_c_relu_1": nn.ReLU(),
            "gate_c_fc_final": nn.Linear(hidden, channels),
        }
        spatial = {
            "gate_s_conv_reduce0": nn.Conv2d(channels, hidden, 1),
            "gate_s_bn_reduce0": nn.BatchNorm2d(hidden),
            "gate_s_relu_reduce0": nn.ReLU(),
            "gate_s_conv_di_0": conv(),
            "gate_s_bn_di_0": nn.BatchNorm2d(hidden),
            "gate_s_relu_di_0": nn.ReLU(),
            "gate_s_conv_di_1": conv(),
            "gate_s_bn_di_1": nn.BatchNorm2d(hidden),
            "gate_s_relu_di_1": nn.ReLU(),
            "gate_s_conv_final": nn.Conv2d(hidden, 1, 1),
        }
        self.channel_att = nn.ModuleDict({"gate_c": nn.Sequential(OrderedDict(channel))})
        self.spatial_att = nn.ModuleDict({"gate_s": nn.Sequential(OrderedDict(spatial))})

    def forward(self, x):
        pooled = functional.adaptive_avg_pool2d(x, 1)
        channel = self.channel_att["gate_c"](pooled)[:, :, None, None]
        return x * (1 + torch.sigmoid(channel * self.spatial_att["gate_s"](x)))


class Block(nn.Module):
    """A basic block or a bottleneck, under the names of torchvision and of the authors."""

    def __init__(self, inputs, width, stride, bottleneck, cbam):
        super().__init__()
        shapes = [(width, 3, stride), (width, 3, 1)]
        if bottleneck:
            shapes = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
        self.count, channels = len(shapes), inputs
        for i, (filters, size, step) in enumerate(shapes, 1):
            conv = nn.Conv2d(channels, filters, size, step, padding=size // 2, bias=False)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"bn{i}", nn.BatchNorm2d(filters))
            channels = filters
        self.downsample = None
        if stride != 1 or inputs != channels:
            shortcut = nn.Conv2d(inputs, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))
        self.cbam = Attention(channels) if cbam else None

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = functional.relu(y) if i < self.count else y
        x = x if self.downsample is None else self.downsample(x)
        return functional.relu(x + (y if self.cbam is None else self.cbam(y)))


class ResNet(nn.Module):
    def __init__(self, depth, cbam=False, bam=False, imagenet=True, classes=7):
        super().__init__()
        repeats = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[depth]
        size, stride = (7, 2) if imagenet else (3, 1)
        self.conv1 = nn.Conv2d(3, 64, size, stride, padding=size // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, padding=1) if imagenet else nn.Identity()
        channels = 64
        for stage, count in enumerate(repeats, 1):
            width, blocks = 32 * 2**stage, []
            for number in range(count):
                stride = 2 if stage > 1 and number == 0 else 1
                blocks.append(Block(channels, width, stride, depth >= 50, cbam))
                channels = width * (4 if depth >= 50 else 1)
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            if stage < 4:
                setattr(self, f"bam{stage}", BAM(channels) if bam else nn.Identity())
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.pool(functional.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
            x = getattr(self, f"bam{stage}")(x) if stage < 4 else x
        return self.fc(x.mean((2, 3)))


def random_network(depth, **options):
    """With normalization statistics and gates that are not the initial ones."""
    torch.manual_seed(0)
    network = ResNet(depth, **options).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var") or ("bn" in name and name.endswith("weight")):
                value.uniform_(0.5, 1.5)
            elif value.ndim == 1:
                value.normal_(0, 0.1)
    return network


def our_network(depth, imagenet=True, **options):
    return build_model(
        "resnet",
        depth=depth,
        stem="imagenet" if imagenet else "cifar",
        classes=7,
        classifier_activation=None,
        input_shape=(None, None, 3),
        **options,
    )


CASES = [
    (18, {}, {}),
    (50, {}, {}),
    (18, {"cbam": True}, {"attention_module": partial(cbam_block, **CBAM_OFFICIAL)}),
    (50, {"cbam": True}, {"attention_module": partial(cbam_block, **CBAM_OFFICIAL)}),
    (18, {"bam": True}, {"attention_module": "bam_block", "attention_at": "stage"}),
    (34, {"imagenet": False}, {"imagenet": False}),
]


@pytest.mark.parametrize(("depth", "theirs", "ours"), CASES)
def test_outputs_are_equal(depth, theirs, ours, rng, tmp_path):
    network = random_network(depth, **theirs)
    x = rng.normal(size=(2, 65, 48, 3)).astype("float32")
    with torch.no_grad():
        expected = network(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "weights.pth")
    model = load_torch_weights(our_network(depth, **ours), tmp_path / "weights.pth")
    got = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_a_dictionary_of_arrays():
    state = {k: v.numpy() for k, v in random_network(18).state_dict().items()}
    model = load_torch_weights(our_network(18), state)
    kernel = model.get_layer("stage2_block1_conv1").kernel.numpy()
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), state["layer2.0.conv1.weight"])


@pytest.mark.parametrize("arrays", [False, True])
def test_nothing_is_shared(arrays):
    network = random_network(18)
    state = network.state_dict()
    if arrays:
        state = {name: value.numpy() for name, value in state.items()}
    model = load_torch_weights(our_network(18), state)
    before = [np.array(weight) for weight in model.get_weights()]
    with torch.no_grad():
        for value in network.state_dict().values():
            value += 1
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_tensors_in_training_and_in_half_precision():
    network = random_network(18).bfloat16()
    state = {**network.state_dict(), **dict(network.named_parameters())}
    model = load_torch_weights(our_network(18), state)
    kernel = model.get_layer("stem_conv").kernel.numpy().transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(kernel, state["conv1.weight"].detach().float().numpy())


def test_everything_that_does_not_fit_is_listed():
    state = random_network(18).state_dict()
    state["layer1.0.conv9.weight"] = state.pop("layer1.0.conv1.weight")
    state["fc.weight"] = torch.zeros(9, 512)
    model = our_network(18)
    before = model.get_weights()
    with pytest.raises(ValueError, match="resnet_18") as error:
        load_torch_weights(model, state)
    for text in (
        "missing layer1.0.conv1.weight",
        "fc.weight of shape (9, 512) does not fit logits/kernel of shape (512, 7)",
        "left over layer1.0.conv9.weight",
    ):
        assert text in str(error.value)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_networks_without_counterpart():
    with pytest.raises(
        ValueError, match="stage1_block1_attention/reduce/kernel has no counterpart"
    ):
        load_torch_weights(our_network(18, attention_module="channel_attention"), {})
    assert torch_name("stage2_block3_shortcut_norm/beta") == "layer2.2.downsample.1.bias"


class Hostile:
    def __reduce__(self):
        return print, ("run",)


def test_files_that_cannot_be_read(tmp_path, capsys):
    with pytest.raises(ValueError, match="there is no file"):
        read_state_dict(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("weights")
    with pytest.raises(ValueError, match=r"text\.pth is no state dict"):
        read_state_dict(tmp_path / "text.pth")
    (tmp_path / "page.pth").write_text("# weights\n")
    with pytest.raises(ValueError, match=r"page\.pth .*: it is no file that torch\.save wrote"):
        read_state_dict(tmp_path / "page.pth")
    torch.save({"state_dict": Hostile()}, tmp_path / "hostile.pth")
    with pytest.raises(ValueError, match=r"hostile\.pth is no state dict"):
        read_state_dict(tmp_path / "hostile.pth")
    assert capsys.readouterr().out == ""
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="a dictionary of names and tensors"):
        read_state_dict(tmp_path / "list.pth")


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model", "net"])
def test_wrappers_are_opened(name, tmp_path):
    torch.save({name: {"fc.bias": torch.ones(3)}, "epoch": 3}, tmp_path / "weights.pth")
    assert list(read_state_dict(tmp_path / "weights.pth")) == ["fc.bias"]


def test_a_whole_model(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(
        ValueError, match=r"such as a whole model; save its state_dict\(\)"
    ) as error:
        read_state_dict(tmp_path / "model.pth")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300 + len(str(tmp_path))


def test_many_misfits_are_counted():
    with pytest.raises(ValueError, match=r"; and 97 more$") as error:
        load_torch_weights(our_network(18), {})
    assert str(error.value).count("missing ") == 5


def test_tensors_that_are_not_what_they_claim(tmp_path):
    path = tmp_path / "weights.pth"
    for tensor, message in (
        (torch.zeros(1, dtype=torch.float16).expand(10**6, 10**6), "too small for 10{12} weights"),
        (torch.zeros(3, dtype=torch.complex64), "a dictionary of names and tensors"),
        (torch.zeros(3).to_sparse(), "Sparse"),
        (torch.zeros(3, device="meta"), "meta"),
    ):
        torch.save({"fc.weight": tensor}, path)
        with pytest.raises(ValueError, match=rf"weights\.pth is no state dict .*{message}"):
            read_state_dict(path)
    torch.save({3: torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="a dictionary of names and tensors"):
        read_state_dict(path)
    torch.save({"fc.bias": torch.nn.Parameter(torch.ones(3))}, path)
    np.testing.assert_array_equal(read_state_dict(path)["fc.bias"], 1)


def test_archives_that_are_damaged_or_bombs(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.arange(1000.0)}, path)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(np.float32(500).tobytes())] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="the checksum of weights/data/0 in it is wrong"):
        read_state_dict(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights/data/0", bytes(2**27))
    with pytest.raises(ValueError, match="it unpacks to 134217728 bytes"):
        read_state_dict(path)


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    state = {k: v.numpy() for k, v in random_network(18).state_dict().items()}
    safetensors.save_file(state, tmp_path / "weights.safetensors")
    read = read_state_dict(tmp_path / "weights.safetensors")
    assert set(read) == set(state)
    load_torch_weights(our_network(18), read)
