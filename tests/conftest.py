"""Set-up of all tests: a thread per worker, fixed seeds, small data in the official layout."""

import atexit
import contextlib
import gc
import importlib.util
import os
import pickle
import shutil
import tempfile

# before any backend is imported; two workers with a thread each beat one with two
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
# JAX compiles what takes long once for all processes: those that come later inherit this
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="attention-zoo-jax-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import keras
import numpy as np
import pytest

from models.attention_module import AttentionLayer
from models.fast import disabled, for_any_size
from utils.evaluation.counting import without_values


def pytest_addoption(parser):
    parser.addoption(
        "--everything", action="store_true", help="also what is too long for every time or backend"
    )


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "once: the same on every backend, or too long for all; on TensorFlow where it is there",
    )
    config.addinivalue_line("markers", "long: only with --everything")
    config.addinivalue_line("markers", "fast_attention: attention in the form that training takes")


def pytest_collection_modifyitems(config, items):
    if config.getoption("everything"):
        return
    here = keras.backend.backend() == "tensorflow" or not importlib.util.find_spec("tensorflow")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="runs with --everything"))
        elif item.get_closest_marker("once") and not here:
            item.add_marker(pytest.mark.skip(reason="runs once, on TensorFlow"))


@pytest.fixture
def any_size():
    """The fast forms of attention compute small maps too."""
    with for_any_size():
        yield


@pytest.fixture(autouse=True)
def fresh_state():
    """Seeds, names, policy and image format are the same for every test, in any order."""
    keras.utils.set_random_seed(0)
    keras.backend.clear_session(free_memory=False)  # see below
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")


@pytest.fixture(autouse=True, scope="module")
def no_garbage():
    """Garbage is collected after each file: after each test it would take longer than most."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def plain_attention(request):
    """Attention in its plain form: compiling the fast one takes longer than most tests."""
    fast_attention = request.node.get_closest_marker("fast_attention")
    with contextlib.nullcontext() if fast_attention else disabled(AttentionLayer):
        yield


@pytest.fixture(name="without_values")
def networks_to_look_at():
    """Networks are built without values for their weights, three times as fast."""
    with without_values():
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def write_batch(path, images, labels, label_key=b"labels", protocol=2):
    """One batch file as in the official archive: `(n, 3072)`, all of red, then green, then blue."""
    flat = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    with open(path, "wb") as file:
        pickle.dump({b"data": flat, label_key: [int(n) for n in labels]}, file, protocol)


def colored_images(rng, labels):
    """32x32 images that a network can learn: the brightness of a corner tells the class."""
    images = rng.integers(0, 60, (len(labels), 32, 32, 3))
    for image, label in zip(images, labels, strict=True):
        y, x = 8 * (label // 4), 8 * (label % 4)
        image[y : y + 8, x : x + 8] += 150
    return images.astype("uint8")


@pytest.fixture(scope="session")
def cifar10_dir(tmp_path_factory):
    """A folder that holds `cifar-10-batches-py` with 5 x 40 training and 40 test images."""
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("data") / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        labels = np.arange(40) % 10
        write_batch(folder / name, colored_images(rng, labels), labels)
    with open(folder / "batches.meta", "wb") as file:
        pickle.dump({b"label_names": [b"class%d" % i for i in range(10)]}, file, 2)
    return folder.parent


@pytest.fixture(scope="session")
def cifar100_dir(tmp_path_factory):
    """A folder that holds `cifar-100-python` with 200 training and 100 test images."""
    rng = np.random.default_rng(2)
    folder = tmp_path_factory.mktemp("data") / "cifar-100-python"
    folder.mkdir()
    for name, count in (("train", 200), ("test", 100)):
        labels = np.arange(count) % 100
        images = rng.integers(0, 256, (count, 32, 32, 3)).astype("uint8")
        write_batch(folder / name, images, labels, b"fine_labels")
    with open(folder / "meta", "wb") as file:
        pickle.dump({b"fine_label_names": [b"fine%d" % i for i in range(100)]}, file, 2)
    return folder.parent


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """A folder of 2 x 12 training and 2 x 4 test photographs; see `write_image_folder`."""
    from tests.image_folders import write_image_folder  # imports scikit-learn

    return write_image_folder(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def own_image_folder(image_folder, tmp_path):
    """A copy of `image_folder` that a test may spoil."""
    return shutil.copytree(image_folder, tmp_path / "photos")


@pytest.fixture(scope="session")
def folder_dataset(image_folder):
    """The data set of `image_folder`, of 16x16 pixels."""
    pytest.importorskip("grain")
    from utils.data.datasets import load_dataset

    return load_dataset("folder", image_folder, image_size=16)
