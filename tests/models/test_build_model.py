"""Networks by name, by text with options, and from a user's own file."""

import inspect
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from models import architecture, build_model
from models.resnet import resnet

OWN = """
import keras
from models.blocks import conv_norm
from models.builder import Builder, takes_common_options


@takes_common_options
def my_network(input_shape=(8, 8, 3), filters=4, classes=10, **common):
    net = Builder(input_shape, classes=classes, name="mine", **common)
    x = conv_norm(net.input, filters, 3, name="stem")
    return net.model(net.end_stage(net.attend(x, "stem"), "stage1", last=True))


def plain(input_shape=(8, 8, 3), classes=10, attention_module=None):
    image = keras.Input(input_shape)
    x = keras.layers.GlobalAveragePooling2D()(image)
    return keras.Model(image, keras.layers.Dense(classes)(x))


def needs(size):
    return plain((size, size, 3))


def gives_a_tensor(**options):
    return keras.Input((8, 8, 3))


def fails(**options):
    raise TypeError("of its own")


NUMBER = 3
"""


@pytest.fixture
def own_file(tmp_path):
    path = tmp_path / "my_models.py"
    path.write_text(OWN)
    return path


@pytest.mark.usefixtures("without_values")
def test_text_with_options():
    texts = build_model("resnet(depth=50, stem='imagenet', width=0.125)", classes=7)
    options = build_model("resnet", depth=50, stem="imagenet", width=0.125, classes=7)
    assert texts.input_shape == options.input_shape == (None, 224, 224, 3)
    assert [w.shape for w in texts.weights] == [w.shape for w in options.weights]
    assert [layer.name for layer in texts.layers] == [layer.name for layer in options.layers]


@pytest.mark.once
@pytest.mark.usefixtures("without_values")
def test_options_override_the_text():
    assert build_model("resnet_v1(depth=8)", depth=14).name == "resnet_v1_14"
    assert build_model("resnet_v1(depth=8)").name == "resnet_v1_8"
    attended = build_model(" resnet_v1 ( depth=8, attention_module='se_block' ) ")
    assert attended.get_layer("stage3_block1_attention").ratio == 8


@pytest.mark.once
def test_signature_of_a_text_has_its_options_as_defaults():
    assert architecture("resnet") is resnet
    parameters = inspect.signature(architecture("resnet(depth=50)")).parameters
    assert parameters["depth"].default == 50
    assert parameters["width"].default == 1.0
    assert "attention_at" in parameters


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet50", "unknown model 'resnet50'. Did you mean 'resnet'. Known: densenet, "),
        ("resnet50(depth=50)", "unknown model 'resnet50'. Did you mean 'resnet'"),
        ("xyz", "unknown model 'xyz'. Known: densenet, "),
        (7, "unknown model '7'. Known"),
        (None, "unknown model 'None'. Known"),
        ("", "model must be a name, or a name with options such as"),
        ("resnet(50)", r"model must be a name, .* received 'resnet\(50\)'"),
        ("resnet(depth=1+)", "model must be a name, or a name with options"),
        ("resnet(depth=print())", "model must be a name, or a name with options"),
        ("resnet(alpha=1)", "resnet has no option 'alpha'; it takes input_shape, depth"),
        ("resnet(depth=20)", "depth of resnet must be one of 18, 34, 50, 101, 152, received 20"),
    ],
)
def test_refuses(name, message):
    with pytest.raises(ValueError, match=message):
        build_model(name)


@pytest.mark.once
@pytest.mark.parametrize("at", [None, 5, [["block"]], ["block", 3]])
@pytest.mark.parametrize("weights", [None, "imagenet"])
def test_refuses_places_that_are_no_strings(at, weights):
    message = "attention_at must be a string or several: 'block', 'stage', 'head', or a place of"
    with pytest.raises(ValueError, match=f"{message} .*; received {re.escape(repr(at))}"):
        build_model("mobilenet", attention_at=at, weights=weights)


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "depth"),
    [("resnet_v1", 8), ("resnet_v1", 11), ("resnet_v2", 11), ("densenet", 10), ("densenet", 121)],
)
@pytest.mark.usefixtures("without_values")
def test_depths_of_numpy(name, depth):
    model, wanted = (build_model(name, depth=d) for d in (np.int64(depth), depth))
    assert model.name == wanted.name == f"{name}_{depth}"
    assert [w.path for w in model.weights] == [w.path for w in wanted.weights]
    with pytest.raises(ValueError, match=r"nearest are .*; received depth=np\.int64\(3\)"):
        build_model(name, depth=np.int64(3))


@pytest.mark.once  # JAX compiles every operation by itself
def test_a_network_from_ones_own_file(own_file):
    model = build_model(f"{own_file}:my_network", filters=6, classes=3, attention_module="se_block")
    assert model.output_shape == (None, 3)
    assert model.get_layer("stem_conv").filters == 6
    assert model.get_layer("stem_attention")
    text = f"{own_file}:my_network(filters=5)"
    assert build_model(text).get_layer("stem_conv").filters == 5
    assert build_model(text, filters=7).get_layer("stem_conv").filters == 7
    assert inspect.signature(architecture(text)).parameters["filters"].default == 5
    assert isinstance(build_model(f"{own_file}:plain", classes=2), keras.Model)


@pytest.mark.once
def test_the_network_of_the_documentation(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "api" / "architectures.md").read_text()
    _, code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_models.py").write_text(code.replace("attention_zoo", "models"))
    name = f"{tmp_path}/my_models.py:my_network(filters=64)"
    model = build_model(name, input_shape=(16, 16, 3), attention_module="se_block")
    assert model.get_layer("stage2_block1_attention").input.shape == (None, 4, 4, 128)
    stages = build_model(name, attention_module="se_block", attention_at="stage")
    assert "stage1_attention" in [layer.name for layer in stages.layers]
    with pytest.raises(ValueError, match="got an unexpected keyword argument 'depth'; it takes in"):
        build_model(name, depth=3)


@pytest.mark.once
def test_a_network_from_ones_own_package(own_file, monkeypatch):
    package = own_file.parent / "networks_of_mine"
    package.mkdir()
    own_file.rename(package / "small.py")
    monkeypatch.chdir(own_file.parent)
    monkeypatch.syspath_prepend(own_file.parent)
    assert build_model("networks_of_mine.small:my_network").name == "mine"


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("my_network", {"depth": 3}, "my_network: got an unexpected .* 'depth'; it takes input_s"),
        ("my_network(depth=3)", {}, "my_models.py:my_network: got an unexpected .* 'depth'; it"),
        ("plain", {"attention_at": "head"}, "plain: got an unexpected keyword .* 'attention_at'"),
        ("needs", {}, "needs: missing a required argument: 'size'; it takes size"),
        ("gives_a_tensor", {}, "gives_a_tensor must return a keras.Model, it returned <KerasT"),
        ("NUMBER", {}, "has no function or class 'NUMBER'"),
        ("my_net", {}, "has no function or class 'my_net'"),
    ],
)
def test_refuses_ones_own(own_file, name, options, message):
    with pytest.raises(ValueError, match=message):
        build_model(f"{own_file}:{name}", **options)


@pytest.mark.once
def test_errors_of_ones_own_code_stay_what_they_are(own_file):
    with pytest.raises(TypeError, match="of its own"):
        build_model(f"{own_file}:fails")
    with pytest.raises(ValueError, match=r"my_model\.py' .* cannot be imported: FileNotFound"):
        build_model(f"{own_file.parent}/my_model.py:my_network")
