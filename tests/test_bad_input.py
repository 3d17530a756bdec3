"""What is wrong on the command line or in a config: one line, exit code 2, and nothing written."""

import json

import pytest

from main import main
from models import list_models
from tests.processes import run_program
from utils.config.settings import TrainSettings
from utils.data.datasets import DATASETS

BAD = [
    (["fly"], "unknown command 'fly'; known: train, compare, evaluate"),
    (
        ["--model", "vgg"],
        f"must be one of {', '.join(list_models())}, keras.applications/NAME, FILE.keras, or "
        "FILE.py:FUNCTION; received 'vgg'",
    ),
    (["--model", "resnet", "--alpha", "0.5"], "resnet has no option 'alpha'; it takes input_shape"),
    (["--model", "mobilenet", "--alpha", "0"], "alpha must be a number above 0, received 0.0"),
    (["--model", "densenet", "--depth", "41"], "the nearest are 40, 43; received depth=41"),
    (["--attention", "cbam"], "Did you mean 'cbam_block'"),
    (["--attention-at", "block,foot"], "must be one or more of 'block', 'head', 'stage'"),
    (["--attention-at", "block,,head"], "must be one or more words, with commas"),
    (["--dataset", "mnist"], f"must be one of {', '.join(DATASETS)}; received 'mnist'"),
    (["trian"], "unknown command 'trian'; did you mean 'train'?; known: train"),
    (["resume"], "; 'main.py train --resume RUN' continues a run; known: train"),
    (["--speed", "9"], "unrecognized arguments: --speed 9; did you mean '--seed'?; see 'main"),
    (["--batch-siz=9"], "unrecognized arguments: --batch-siz=9; did you mean '--batch-size'?; see"),
    (["--lr", "0.1"], "--lr 0.1; did you mean '--learning-rate'?"),
    (["--attention", "none", "se_block"], "'main.py compare' takes several values of a setting"),
    (["list", "--lr", "se_block"], "unrecognized arguments: --lr se_block; see"),
    (["--ratio", "0"], "must be a whole number of at least 1; received '0'"),
    (["--ratio", "4", "--attention", "none"], "nothing takes ratio; leave it out"),
    (["--kernel-size", "4"], "kernel_size must be an odd integer of at least 1, received 4"),
    (["--kernel-size", "3", "--attention", "se_block"], "SE has no option 'kernel_size'"),
    (["--order", "last"], "order must be one of 'channel_first', 'spatial_first', 'parallel'"),
    (["--pools", "mean"], "pools must be one or more of 'avg', 'max', 'lp', 'lse'"),
    (["--descriptor", "conv,avg"], "descriptor, if not 'conv', must be one or more of"),
    (["--attention", "se_block", "--pools", "max"], "SE has no option 'pools'"),
    (["--no-attention-batch-norm", "--attention", "bam_block"], "BAM has no option 'batch_norm'"),
    (
        ["import-torch", "weights.pth", "--attention", "cbam_block", "--order", "parallel"],
        "unrecognized arguments: --order parallel; did you mean",
    ),
    (["import-torch", "weights.pth", "--pools", "max"], "unrecognized arguments: --pools max; see"),
    (["--depth", "21"], "the nearest are 20, 26, 29; received depth=21"),
    (["--depth", "deep"], "must be a whole number of at least 1; received 'deep'"),
    (["--batch-size", "0"], "must be a whole number of at least 1; received '0'"),
    (["--depth", "4294967294"], "must be at most 2000; received '4294967294'"),
    (["--model", "resnet_v1(depth=4294967294)"], "must have depth of at most 2000; received"),
    (["--attention", "cbam_block(kernel_size=4294967295)"], "must have kernel_size of at most"),
    (["--kernel-size", "4294967295"], "must be at most 1023; received '4294967295'"),
    (["--model", "densenet", "--growth-rate", "4294967295"], "must be at most 512; received"),
    (["--model", "resnet", "--width", "1e9"], "must be at most 128; received '1e9'"),
    (["--cutout", "2147483648"], "must be at most 4096; received '2147483648'"),
    (["--crop-padding", "2147483648"], "must be at most 4096; received '2147483648'"),
    (["--batch-size", "4294967295"], "must be at most 1000000; received '4294967295'"),
    (["profile", "--input-size", "4294967295"], "must be at most 4096; received '4294967295'"),
    (["--batch-size", "1.5"], "received '1.5'"),
    (["--epochs", "-3"], "must be a whole number of at least 1; received '-3'"),
    (["--learning-rate", "nan"], "must be a number above 0; received 'nan'"),
    (["--learning-rate", "0"], "must be a number above 0; received '0'"),
    (["--validation-split", "1"], "must be a number of at least 0 and below 1; received '1'"),
    (["--validation-split", "0.999"], "validation split 0.999"),
    (["--schedule", "linear"], "must be one of one_cycle, cosine, step, constant"),
    (["--image_sise", "32"], "--image_sise 32; did you mean '--image-size'?; see 'main.py train"),
    (["--banana", "32"], "unrecognized arguments: --banana 32"),
    (["--optimizer", "lion"], "must be one of sgd, adam"),
    (["--seed", "-1"], "must be a whole number of at least 0"),
    (["--precision", "int4"], "must be one of auto, float32, mixed_bfloat16, mixed_float16"),
    (["--backend", "theano"], "must be one of tensorflow, jax, torch"),
    (["--attention-batch-norm", "yes"], "must be true or false; received 'yes'"),
    (["--data-dir", "/nowhere"], "the data folder '/nowhere' is not there"),
    (["--data-dir", "a" * 300], "File name too long"),
    (["--config", "/nowhere.json"], "/nowhere.json cannot be read as JSON: there is no such file"),
    (["evaluate", "/nowhere"], "must be the folder of a run, with a config.json, or trained"),
    (["evaluate"], "the following arguments are required: RUN; see"),
]


@pytest.mark.once
@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line(arguments, message, cifar10_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if arguments[0].startswith("-") and "--data-dir" not in arguments:
        arguments = [*arguments, "--data-dir", str(cifar10_dir)]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert message in err
    assert not list(tmp_path.iterdir())


def test_bad_input_in_a_process_of_its_own(cifar10_dir, tmp_path):
    """Nothing that the backend prints while it loads comes beside the line."""
    folder = tmp_path / "run"
    done = run_program("--depth", "21", "--data-dir", cifar10_dir, "--run-dir", folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: resnet_v1 can be 6n+2 or 9n+2 layers deep")
    assert done.stderr.count("\n") == 1
    assert not folder.exists()


CONFIGS = [
    ('{"batch_size": "many"}', "must be a whole number of at least 1; received 'many'"),
    ('{"batch_size": true}', "must be a whole number of at least 1; received True"),
    ('{"speed": 3}', "has 'speed', which is no setting of this command; did you mean 'seed'?"),
    ('{"augment": "maybe"}', "augment must be true or false; received 'maybe'"),
    ('{"attention_at": ["foot"]}', "must be one or more of 'block', 'head', 'stage'"),
    ('{"model": 3}', "model must be a word; received 3"),
    ('{"attention": null}', "attention must be a word; received None"),
    ("[1, 2]", "must hold an object of settings; received [1, 2]"),
    ("[" * 100_000, "nested too deeply"),
    ('{"depth": ' + "[" * 900 + "]" * 900 + "}", "must be a whole number"),
    ('{"depth": 20, "depth": 56}', "a key comes twice"),
    ('{"config": "other.json"}', "has 'config', which is no setting of this command"),
    ('{"learning_rate": NaN}', "Out of range float values"),
    ('{"learning_rate": 1' + "0" * 400 + "}", "must be a number above 0"),
    ('{"epochs": 99999999999}', "must be at most 1000000; received 99999999999"),
    ('{"model": "\\u001b[2J\\u0007"}', r"received '\x1b[2J\x07'"),
    ('{"\\u001b[2J": 1}', r"has '\x1b[2J', which is no setting"),
    ("{", "cannot be read as JSON: Expecting property name"),
    ("", "cannot be read as JSON: Expecting value"),
]


@pytest.mark.once
@pytest.mark.parametrize(("content", "message"), CONFIGS)
def test_bad_config_is_one_line(content, message, tmp_path, capsys):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(SystemExit) as end:
        main(["--config", str(path), "--run-dir", str(tmp_path / "run")])
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    assert message in err
    assert not (tmp_path / "run").exists()


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "value"),
    [("coordinator", "127.0.0.1:9912"), ("host_id", 0), ("force", True), ("run_dir", "elsewhere")],
)
def test_a_run_does_not_say_how_it_is_resumed(name, value, tmp_path, capsys):
    """Its folder may come from anybody: what `config()` leaves out is refused there."""
    config = TrainSettings(dataset="digits", depth=8).config() | {name: value}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit) as end:
        main(["--resume", str(tmp_path)])
    assert end.value.code == 2
    assert f"has {name!r}, which is no setting of this command" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
