"""The command that turns a PyTorch file into a model of this project."""

import sys
import types
import zipfile

import keras
import numpy as np
import pytest

from main import main
from models import build_model
from models.attention_module import CBAM_OFFICIAL, get_attention
from models.saving import load_model
from models.torch_names import SCHEMES, torch_name
from tests.commands import refused
from utils.evaluation import importing

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.once


def torch_state(model, rng, scheme=SCHEMES[0]):
    """Random weights under PyTorch's names and in its order of axes."""
    state = {}
    for weight in model.weights:
        axes = {4: (3, 2, 0, 1), 3: (2, 1, 0), 2: (1, 0), 1: (0,)}[len(weight.shape)]
        value = rng.uniform(0.5, 1, weight.shape).astype("float32").transpose(axes)
        if "integrate" in weight.path:
            value = value[0, :, :, 0][:, None]  # a convolution along one axis
        state[torch_name(weight.path, scheme)] = torch.tensor(np.ascontiguousarray(value))
    return state


def test_import_torch(tmp_path, rng, capsys):
    module = get_attention("cbam_block", **CBAM_OFFICIAL)
    network = build_model("resnet", depth=18, attention_module=module, classes=3)
    state = torch_state(network, rng)
    torch.save(state, tmp_path / "weights.pth")
    words = ["import-torch", str(tmp_path / "weights.pth"), "--depth", "18", "--stem", "cifar"]
    words += ["--attention", "cbam_block", "--classes", "3"]
    main(words)
    assert "weights.keras" in capsys.readouterr().out
    model = load_model(tmp_path / "weights.keras")
    kernel = model.get_layer("stage3_block2_attention").channel.reduce.kernel
    wanted = state["layer3.1.cbam.ChannelGate.mlp.1.weight"].numpy().T
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), wanted)
    assert model(np.zeros((1, 40, 33, 3), "float32")).shape == (1, 3)
    for more, message in (
        ([], "weights.keras exists already; name another file with --output"),
        (["--output", str(tmp_path / "a.h5")], "the output must end in .keras"),
        (["--output", str(tmp_path / "b.keras"), "--depth", "34"], "missing layer1.2.conv1.weight"),
        (["--output", str(tmp_path / "b.keras"), "--classes", "4"], "say with --model, --depth, "),
    ):
        with pytest.raises(SystemExit) as end:
            main(words + more)
        assert end.value.code == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights.keras", "weights.pth"]


def test_a_folder_that_is_missing_costs_no_download(tmp_path, monkeypatch, capsys):
    """The folder is looked for before the file, which may have to come from the network."""
    read = []
    monkeypatch.setattr(importing, "read_state_dict", read.append)
    output = tmp_path / "none" / "a.keras"
    said = refused(capsys, "import-torch", "timm:resnet18", "--output", output)
    assert said == f"error: output: there is no folder {output.parent}\n"
    assert not read
    (tmp_path / "none").touch()
    assert "there is no folder" in refused(capsys, "import-torch", "x.pth", "--output", output)


def test_the_same_file_gives_the_same_bytes(tmp_path, rng):
    network = build_model("resnet_v1", depth=8)
    torch.save(torch_state(network, rng), tmp_path / "weights.pth")
    for name in ("a.keras", "b.keras"):
        main(["import-torch", str(tmp_path / "weights.pth"), "--model", "resnet_v1", "--depth", "8",
              "--classes", "10", "--output", str(tmp_path / name)])  # fmt: skip
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:  # of no day in particular
        assert b"1980-01-01" in archive.read("metadata.json")


def test_import_in_channels_first(tmp_path, rng):
    network = build_model("resnet_v1", depth=8)
    torch.save(torch_state(network, rng), tmp_path / "weights.pth")
    keras.config.set_image_data_format("channels_first")
    main(["import-torch", str(tmp_path / "weights.pth"), "--model", "resnet_v1", "--depth", "8",
          "--classes", "10", "--input-size", "16"])  # fmt: skip
    assert load_model(tmp_path / "weights.keras").input_shape == (None, 3, 16, 16)


@pytest.mark.parametrize("file", ["timm:", "timm:.", ".", "/"])
def test_a_name_that_names_nothing(file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    said = refused(capsys, "import-torch", file)
    assert said == f"error: file must be a PyTorch file, or timm:NAME; received {file!r}\n"


@pytest.mark.parametrize(
    ("attention", "words"),
    [
        ("se_block(ratio=16)", ["se_block"]),
        ("se_block(ratio=16, use_bias=False)", ["se_block"]),
        ("se_block(ratio=4)", ["se_block", "--ratio", "4"]),
        ("eca_block(kernel_size=3)", ["eca_block"]),
        ("srm_block", ["srm_block"]),
        ("none", ["none"]),
    ],
)
def test_networks_for_cifar(attention, words, tmp_path, rng):
    network = build_model("resnet_v1", depth=8, attention_module=attention)
    torch.save(torch_state(network, rng), tmp_path / "weights.pth")
    main(["import-torch", str(tmp_path / "weights.pth"), "--model", "resnet_v1", "--depth", "8",
          "--classes", "10", "--attention", *words])  # fmt: skip
    model = load_model(tmp_path / "weights.keras")
    kernel = model.get_layer("stage3_block1_conv2").kernel
    wanted = torch.load(tmp_path / "weights.pth")["layer3.0.conv2.weight"].numpy()
    found = keras.ops.convert_to_numpy(kernel).transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("file", "words", "stride_in"),
    [
        ("seresnet50-0560-e75ef498.pth", [], "1x1"),
        ("seresnet50b-0533-539e58be.pth", [], "3x3"),
        pytest.param(
            "seresnet50-0560-e75ef498.pth", ["--stride-in", "3x3"], "3x3", marks=pytest.mark.long
        ),
    ],
)
def test_the_name_of_a_file_tells_the_stride(file, words, stride_in, tmp_path, rng):
    """Weights of both networks have the same names and shapes; pytorchcv's code has the strides."""
    options = {"depth": 50, "stem": "imagenet", "width": 0.125, "classes": 3}
    attention = "se_block(ratio=16)"
    network = build_model("resnet", attention_module=attention, stride_in=stride_in, **options)
    torch.save(torch_state(network, rng, SCHEMES[-1]), tmp_path / file)
    main(["import-torch", str(tmp_path / file), "--depth", "50", "--width", "0.125", "--classes",
          "3", "--attention", "se_block", *words])  # fmt: skip
    model = load_model((tmp_path / file).with_suffix(".keras"))
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D):
            assert model.get_layer(layer.name).strides == layer.strides


def imported_by_name(name, state, tmp_path, monkeypatch):
    """What the command makes of a name and nothing else, with weights that timm gives."""

    class ResNet(torch.nn.Module):
        def state_dict(self):
            return state

    fake = types.ModuleType("timm")
    fake.is_model, fake.create_model = lambda name: True, lambda name, pretrained: ResNet()
    monkeypatch.setitem(sys.modules, "timm", fake)
    monkeypatch.chdir(tmp_path)
    main(["import-torch", f"timm:{name}"])
    return load_model(f"{name}.keras")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("seresnet18.tag", ("resnet(depth=18, stem='imagenet')", "se_block(ratio=16, divisor=8)")),
        ("ecaresnet50t", ("resnet(depth=50, stem='tiered', shortcut='pool')", "eca_block")),
        ("resnext50_32x4d", ("resnext(depth=50)", "none")),
    ],
)
def test_networks_of_timm(name, ours, tmp_path, rng, monkeypatch, capsys):
    architecture, attention = ours
    network = build_model(architecture, attention_module=attention, classes=1000)
    timm = next(scheme for scheme in SCHEMES if scheme.owners == "timm")
    state = torch_state(network, rng, timm)
    model = imported_by_name(name, state, tmp_path, monkeypatch)
    assert "written: " in capsys.readouterr().out
    assert [w.path for w in model.weights] == [w.path for w in network.weights]
    kernel = keras.ops.convert_to_numpy(model.get_layer("stage1_block1_conv2").kernel)
    wanted = state["layer1.0.conv2.weight"].numpy()
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), wanted)


def test_a_name_without_timm(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["import-torch", "timm:seresnet50"])
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: timm:seresnet50 needs timm: pip install timm\n"
