"""The command `demo` without a browser: what it loads, where it listens, and what it refuses."""

import dataclasses
import errno
import json
import re
import shutil
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.class_activation import grad_cam
from models.saving import load_model
from tests.commands import refused
from tests.run_folders import write_run
from utils.config.command_settings import DemoSettings
from utils.data.datasets import load_dataset
from utils.demo.demo_runs import load_demo_runs
from utils.demo.explainer import Query
from utils.demo.server import demo, free_port
from utils.explain.selection import SelectedImage
from utils.system.errors import UserError
from utils.system.files import write_json

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    digits = load_dataset("digits")
    return [
        str(write_run(folder / f"digits-{name}-seed0", digits, attention=name))
        for name in ("none", "cbam_block")
    ]


@pytest.fixture(scope="module")
def demo_runs(runs):
    return load_demo_runs(DemoSettings(runs=runs))


@pytest.fixture
def run_without_data(cifar10_dir, tmp_path, monkeypatch):
    """The folder of a run whose data set cannot be found."""
    data = load_dataset("cifar10", cifar10_dir)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr("utils.data.cifar.download", lambda *_: pytest.fail("it downloads"))
    return write_run(tmp_path / "run", data, attention="se_block")


def test_refuses(runs, tmp_path, capsys, monkeypatch):
    assert "must be the folder of a run" in refused(capsys, "demo", tmp_path)
    assert "the data folder" in refused(capsys, "demo", *runs, "--data-dir", tmp_path / "no")
    assert "--port: must be a whole number of at least 1" in refused(
        capsys, "demo", runs[0], "--port", "0"
    )
    assert "must be the folder of a run" in refused(capsys, "demo", "cifar10/other")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refused(capsys, "demo", runs[0], "--port", port)
    assert f"cannot listen on --host 127.0.0.1, --port {port}: Address already in use" in error
    error = refused(capsys, "demo", runs[0], "--host", "192.0.2.1")
    assert "cannot listen on --host 192.0.2.1, --port any of 7860 to 7959: " in error
    assert "cannot listen on --host no host" in refused(
        capsys, "demo", runs[0], "--host", "no host"
    )
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install gradio" in refused(capsys, "demo", runs[0])


def test_takes_the_next_port_that_is_free():
    first = free_port("127.0.0.1")
    with socket.create_server(("127.0.0.1", first)):
        assert free_port("127.0.0.1") > first


def test_a_host_is_resolved_once_and_its_own_error_is_said(monkeypatch):
    asked = []

    def unknown(host, *arguments, **options):
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UserError) as error:
        free_port("no.such.host")
    said = "the demo cannot listen on --host no.such.host: Name or service not known"
    assert str(error.value) == said
    assert asked == ["no.such.host"]


@pytest.mark.parametrize(("number", "tried"), [(errno.EADDRNOTAVAIL, 1), (errno.EADDRINUSE, 100)])
def test_only_a_port_in_use_is_followed_by_the_next(number, tried, monkeypatch):
    ports = []

    def fail(address, **options):
        ports.append(address[1])
        raise OSError(number, "it fails")

    monkeypatch.setattr(socket, "create_server", fail)
    with pytest.raises(UserError, match=r"--host 127.0.0.1, --port any of 7860 to 7959: it fails$"):
        free_port("127.0.0.1")
    assert ports == list(range(7860, 7860 + tried))


def test_networks_of_several_kinds_are_refused(runs, run_without_data, tmp_path):
    with pytest.raises(UserError, match="must have the same data set; received digits, cifar10"):
        load_demo_runs(DemoSettings(runs=[runs[0], str(run_without_data)]))
    copy = shutil.copytree(run_without_data, tmp_path / "copy")
    shutil.copy(Path(runs[0]) / "best.keras", copy / "best.keras")
    with pytest.raises(UserError, match=r"\(32, 32, 3\) with 10 classes and \(8, 8, 1\) with 10"):
        load_demo_runs(
            DemoSettings(runs=[str(run_without_data), str(copy)]), announce=lambda line: None
        )


def test_a_run_folder_is_enough(run_without_data):
    lines = []
    demo_runs = load_demo_runs(DemoSettings(runs=[str(run_without_data)]), announce=lines.append)
    assert demo_runs.dataset is None
    assert "cifar10 is not available: not in Keras's cache" in lines[0]
    assert demo_runs.shape == (32, 32, 3)
    assert demo_runs.class_names[3] == "class 3"
    write_json(run_without_data / "summary.json", {"class_names": list("abcdefghij")})
    settings = DemoSettings(runs=[str(run_without_data)])
    demo_runs = load_demo_runs(settings, announce=lines.append)
    assert demo_runs.class_names == tuple("abcdefghij")
    write_json(run_without_data / "summary.json", {"class_names": ["a", "a"]})
    assert load_demo_runs(settings, announce=lines.append).class_names[0] == "class 0"
    with pytest.raises(UserError, match=r"cifar10 is not available: not in .*run or Keras"):
        load_demo_runs(dataclasses.replace(settings, data_dir=str(run_without_data)))


def test_explains_a_class_at_a_stage(demo_runs, runs):
    image = demo_runs.test_image(5)
    assert demo_runs.stages == [(8, 8), (4, 4), (2, 2)]
    for explainer, run in zip(demo_runs.explainers, runs, strict=True):
        network = load_model(Path(run) / "best.keras")
        explanation = explainer.explain(Query(image, 3, (4, 4)))
        predicted = network.predict(image.pixels[None], verbose=0)[0]
        np.testing.assert_allclose(explanation.probabilities, predicted, atol=1e-5)
        (cam,) = grad_cam(network, image.pixels[None], np.array([3]), "stage2_block1_relu")
        np.testing.assert_allclose(explanation.cam, cam / max(cam.max(), 1e-12), atol=1e-4)
    assert explanation.attention.layer == "stage2_block1_attention"
    assert explanation.attention.spatial.shape == (1, 4, 4)
    other = explainer.explain(Query(image, None, (3, 3)))
    assert other.target == predicted.argmax()
    assert other.cam is None
    assert "Grad-CAM" not in demo_runs.render([other])


def predictions(explanations):
    return [explanation.predicted for explanation in explanations]


def test_differences_from_the_reference(demo_runs):
    explained = (
        demo_runs.explain(Query(demo_runs.test_image(number), None, (2, 2)))
        for number in range(100)
    )
    first = next(explained)
    second = next(other for other in explained if predictions(other) != predictions(first))
    names = [demo_runs.class_names[explanation.predicted] for explanation in first]
    page = demo_runs.render(first)
    assert page.count("Changes are relative to network none.") == 1
    assert (
        page.count("<figure>") == 1 + 4
    )  # Grad-CAM; of CBAM also its change, spatial and channel attention
    again = demo_runs.render(second, first)
    assert "Changes are relative to the previous result." in again
    assert again.count("<figure>") == 2 + 4
    for before, now, name in zip(first, second, names, strict=True):
        if before.predicted != now.predicted:
            assert f"Differs from the previous result: {name}," in again
    same = demo_runs.render(first, first)
    assert set(re.findall(r"<td>([+-][0-9.]+)</td>", same)) == {"+0.0"}


def test_names_are_escaped(demo_runs):
    image = SelectedImage("<script>alert(1)</script>.png", demo_runs.test_image(0).pixels, None)
    page = demo_runs.render(demo_runs.explain(Query(image, None, (2, 2))))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_files(demo_runs, tmp_path):
    Image.new("RGB", (30, 20), (200, 100, 50)).save(tmp_path / "photo.jpg")
    image = demo_runs.uploaded_image(tmp_path / "photo.jpg")
    assert (image.name, image.label, image.pixels.shape) == ("photo.jpg", None, (8, 8, 1))
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match=r"^broken.gif is no image that can be read") as error:
        demo_runs.uploaded_image(tmp_path / "broken.gif")
    assert str(tmp_path) not in str(error.value)
    with pytest.raises(UserError, match="have the numbers 0 to 359; received 360"):
        demo_runs.test_image(360)


class Ended(Exception):
    """Stops a demo in a test, as Ctrl-C does."""


def serve(settings, use):
    """Runs a demo until it announces its address, and calls a function with that."""

    def announce(line):
        if "demo runs at" in line:
            use(line.split()[4])
            raise Ended

    with pytest.raises(Ended):
        demo(settings, announce)


def test_listens_on_loopback_only_and_connects_to_no_other_host(runs, monkeypatch, tmp_path):
    pytest.importorskip("gradio", reason="the demo's page needs Gradio")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")  # only --host counts
    monkeypatch.setenv("GRADIO_SHARE", "true")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    called, connect = [], socket.socket.connect
    asked, resolve = [], socket.getaddrinfo
    file = {"path": "http://evil.example/a.png", "meta": {"_type": "gradio.FileData"}}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *a, **k: asked.append(a[0]) or resolve(*a, **k)
    )

    def record(this, address):
        called.append(address[0])
        return connect(this, address)

    monkeypatch.setattr(socket.socket, "connect", record)

    def look(address):
        port = int(address.rstrip("/").rsplit(":", 1)[1])
        config = json.load(urllib.request.urlopen(f"{address}config"))
        assert config["analytics_enabled"] is False
        assert [path.name.startswith("attention-zoo-") for path in tmp_path.iterdir()] == [True]
        with pytest.raises(urllib.error.HTTPError, match="413"):
            urllib.request.urlopen(upload(f"{address}gradio_api/upload", bytes(20 * 2**20 + 1)))
        for foreign in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(urllib.request.Request(f"{address}config", headers=foreign))
        for request in (
            urllib.request.Request(
                f"{address}gradio_api/queue/join",
                json.dumps({"data": [file], "fn_index": 2, "session_hash": "a"}).encode(),
                {"Content-Type": "application/json"},
            ),
            f"{address}gradio_api/file=http://evil.example/a.png",
        ):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(request)
        # what listens on all addresses answers here too
        with socket.socket() as other, pytest.raises(OSError, match=r"refused|assign|reach"):
            connect(other, ("127.0.0.2", port))

    serve(DemoSettings(runs=runs[:1]), look)
    assert set(called) == {"127.0.0.1"}
    assert not {name for name in asked if "evil" in str(name)}
    assert not list(tmp_path.iterdir())


def upload(address, content):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    return urllib.request.Request(address, body + content + b"\r\n--x--\r\n", kind)
