"""Training on several devices and hosts: the results of one device, written once, resumable."""

import contextlib
import csv
import signal
import socket

import keras
import numpy as np
import pytest

from main import main
from tests.processes import KILLED, run_killed, run_python, start_python
from tests.run_folders import contents
from utils.config.settings import TrainSettings
from utils.feeding.epoch_batches import EpochBatches
from utils.training.devices import Devices, cluster_settings

BACKEND = keras.backend.backend()
# 179 images to train on and 21 to validate with: some batches need padding
ARGUMENTS = ["--model", "resnet_v1", "--depth", "8", "--attention", "none", "--epochs", "2",
             "--batch-size", "20", "--learning-rate", "1e-4", "--precision", "float32",
             "--validation-split", "0.105"]  # fmt: skip
TRAINS = "import sys; from main import main; [main(words.split()) for words in sys.argv[1:]]"
# made of the CPU
ONE_DEVICE, TWO_DEVICES = ({"ATTENTION_ZOO_CPU_DEVICES": number} for number in "12")
LONGEST = 1200  # seconds, for a busy machine
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="JAX alone trains on several hosts")
on_several = pytest.mark.skipif(BACKEND == "torch", reason="PyTorch trains on one device")


def end(process):
    """Waits for a process; returns its exit code and what it printed."""
    try:
        said, errors = process.communicate(timeout=LONGEST)
    finally:
        process.kill()
    return process.returncode, said + errors


def start_hosts(*arguments, kill=(0, 0)):
    """Starts two hosts of one device each, which kill themselves at these events (0: never)."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cluster = ["--hosts", 2, "--coordinator", f"127.0.0.1:{port}", "--host-id"]
    return [
        start_python(KILLED, at, "/dev/null", *arguments, *cluster, host, environment=ONE_DEVICE)
        for host, at in enumerate(kill)
    ]


def curves(run):
    """Losses and accuracies of every epoch."""
    with open(run / "metrics.csv", newline="") as file:
        return [
            [float(row[name]) for name in ("loss", "accuracy", "val_loss", "val_accuracy")]
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def runs(cifar10_dir, tmp_path_factory):
    """The folders of a run on one device and of the same on two, and what they printed."""
    folder = tmp_path_factory.mktemp("runs")
    common = " ".join([*ARGUMENTS, "--data-dir", str(cifar10_dir)])
    lines = [f"{common} --devices {n} --run-dir {folder / str(n)}" for n in (1, 2)]
    done = run_python("-c", TRAINS, *lines, **TWO_DEVICES)
    assert done.returncode == 0, done.stderr
    return folder / "1", folder / "2", done.stdout


@on_several
def test_two_devices_train_as_one(runs):
    one, two, said = runs
    assert "2 devices with 10 images of a batch each" in said
    assert np.ptp([loss for loss, *_ in curves(one)]) > 1e-3
    np.testing.assert_allclose(curves(two), curves(one), rtol=1e-5)


@on_several
def test_two_devices_save_a_network_for_one(runs):
    one, two = (keras.saving.load_model(run / "best.keras") for run in runs[:2])
    assert '"synchronized": true' not in two.to_json()
    pixels = np.random.default_rng(0).integers(0, 256, (8, *one.input_shape[1:]))
    np.testing.assert_allclose(two.predict(pixels), one.predict(pixels), atol=1e-4)


@on_several
@pytest.mark.long
def test_killed_on_two_devices_and_resumed(cifar10_dir, tmp_path):
    whole, other = tmp_path / "whole", tmp_path / "killed"
    # everything that has a state: dropout, batch statistics, averages, metrics within an epoch
    arguments = ["--model", "densenet", "--depth", "7", "--growth-rate", "4", "--dropout-rate",
                 "0.2", "--ema", "0.9", "--batch-size", "32", "--epochs", "2", "--devices", "2",
                 "--checkpoint-every", "2", "--data-dir", cifar10_dir]  # fmt: skip
    count = tmp_path / "count"
    run_killed(*arguments, "--run-dir", whole, count=count, **TWO_DEVICES)
    at = int(count.read_text()) // 2
    run_killed(*arguments, "--run-dir", other, at=at, **TWO_DEVICES)
    run_killed("--resume", other, **TWO_DEVICES)
    assert contents(other) == contents(whole)


@on_jax
def test_two_hosts_train_as_one_and_write_once(runs, cifar10_dir, tmp_path):
    run = tmp_path / "run"
    hosts = start_hosts(*ARGUMENTS, "--data-dir", cifar10_dir, "--run-dir", run)
    (code, first), (other_code, second) = map(end, hosts)
    assert (code, other_code) == (0, 0), first + second
    np.testing.assert_allclose(curves(run), curves(runs[0]), rtol=1e-5)
    assert "epoch 2/2" in first
    assert "epoch 1/2" not in second
    assert "best network" not in second
    assert sorted(p.name for p in run.iterdir()) == sorted(p.name for p in runs[0].iterdir())


@on_jax
@pytest.mark.long
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_host_ends_the_others_and_both_go_on(killed, cifar10_dir, tmp_path):
    arguments = [*ARGUMENTS, "--data-dir", cifar10_dir, "--checkpoint-every", "2", "--run-dir"]
    whole, run = tmp_path / "whole", tmp_path / "killed"
    for host in start_hosts(*arguments, whole):
        code, said = end(host)
        assert code == 0, said
    # host 1 has events for steps only, two each; host 0 has many more, as it writes files
    kill = (60, 0) if killed == 0 else (0, 12)
    ended = list(map(end, start_hosts(*arguments, run, kill=kill)))
    assert ended[killed][0] == -signal.SIGKILL, ended
    code, said = ended[1 - killed]
    if killed == 1:
        assert code == 1, said
        assert "host 0 has lost another of the 2 hosts" in said
        assert "Traceback" not in said
    else:  # JAX may abort it before it can print the error
        assert code in (1, -signal.SIGABRT), said
    for host in start_hosts("--resume", run):
        code, said = end(host)
        assert code == 0, said
    assert contents(run) == contents(whole)


@pytest.mark.parametrize("rows", [1, 6, 7, 12])
@pytest.mark.parametrize(("per_host", "hosts"), [(2, 1), (1, 3), (2, 2)])
def test_parts_of_batches(rows, per_host, hosts):
    """All hosts' rows, concatenated, are those of the batch; padding has weight 0."""
    labels = np.arange(rows) * 10
    batches = EpochBatches(np.arange(rows), labels, 5, (8, 8))
    parts = [
        devices.weight(EpochBatches(np.arange(rows), labels, 5, (8, 8), share=devices.batch_share))
        for devices in (Devices(per_host, hosts, host) for host in range(hosts))
    ]
    total = weights = 0
    for number in range(batches.num_batches):
        wanted_inputs, wanted = batches[number]
        found = [part[number] for part in parts]
        assert len({len(y) for _, y, *_ in found}) == 1
        assert len(found[0][1]) % per_host == 0
        joined = np.concatenate([y for _, y, *_ in found])
        np.testing.assert_array_equal(joined[: len(wanted)], wanted)
        index = np.concatenate([x["index"] for x, *_ in found])
        np.testing.assert_array_equal(index[: len(wanted)], wanted_inputs["index"])
        weight = np.concatenate([np.ones(len(y)) if not w else w[0] for _, y, *w in found])
        assert not weight[len(wanted) :].any()
        total += (weight * joined).sum()
        weights += len(joined)
    # Keras divides the weighted sum by the number of values
    np.testing.assert_allclose(total / weights, labels.mean(), rtol=1e-6)


def by_backend(**said):
    return said[BACKEND]


NO_TORCH = "with TensorFlow or JAX, not with PyTorch"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--devices", "0"], "devices: must be a whole number of at least 1; received '0'"),
        (["--devices", "64"], by_backend(
            tensorflow="devices must be at most", jax="devices must be at most", torch=NO_TORCH)),
        (["--devices", "3", "--batch-size", "64"], by_backend(
            tensorflow="multiple of the 3 devices that share it; received 64, the nearest are 63",
            jax="multiple of the 3 devices that share it; received 64, the nearest are 63",
            torch=NO_TORCH)),
        (["--hosts", "2"], by_backend(
            tensorflow="with JAX alone", jax="the 2 hosts do not connect", torch=NO_TORCH)),
        (["--host-id", "1"], "add --hosts"),
        (["--hosts", "2", "--host-id", "2"], "host_id must be below hosts, which is 2; received 2"),
        (["--hosts", "2", "--host-id", "1"], "host_id and coordinator must be given together"),
        (["--coordinator", "nowhere"], "must be ADDRESS:PORT such as 10.0.0.1:1234; received"),
    ],
)  # fmt: skip
def test_refused_in_a_line(arguments, said, cifar10_dir, tmp_path, capsys):
    run = tmp_path / "run"
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--data-dir", str(cifar10_dir), "--run-dir", str(run)])
    assert stop.value.code == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert not run.exists()


def test_hosts_from_the_environment(monkeypatch):
    for name, value in (("NUM_PROCESSES", "2"), ("PROCESS_ID", "1"), ("JOB_ADDRESSES", "a:1,b:2")):
        monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    assert cluster_settings(TrainSettings()) == (2, 1, "a:1")
    flags = TrainSettings(hosts=3, host_id=0, coordinator="c:3")
    assert cluster_settings(flags) == (3, 0, "c:3")


def test_compare_is_of_one_host(monkeypatch, cifar10_dir, tmp_path, capsys):
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--data-dir", str(cifar10_dir), "--run-dir", str(tmp_path / "run")])
    assert stop.value.code == 2
    assert "compare trains on one host" in capsys.readouterr().err


@on_several
def test_other_devices_are_named_at_a_resume(runs, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--resume", str(runs[1]), "--devices", "1"])
    assert stop.value.code == 2
    command = f"python main.py train --resume {runs[1]} --force"
    assert f"devices was 2, is 1; '{command}' resumes it all the same" in capsys.readouterr().err
