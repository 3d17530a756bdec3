"""The Keras backend of this process, and the device it computes on."""

from __future__ import annotations

import atexit
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from models.private_api import synchronize_jax_state

from .errors import UserError

if TYPE_CHECKING:
    import keras
    import numpy as np

BACKENDS = ("tensorflow", "jax", "torch")
# environment variable: how many devices the CPU is split into, to try training on several
CPU_DEVICES = "ATTENTION_ZOO_CPU_DEVICES"
STEPS_AT_ONCE = 16


def choose_backend(name: str | None = None, announce: Callable[[str], object] | None = None) -> str:
    """Chooses Keras's backend and imports Keras, whose first import fixes it for the process.

    Args:
        name: string, `"tensorflow"`, `"jax"` or `"torch"`. Defaults to the value of `KERAS_BACKEND`
            or, if that is not set, the first of the three that is installed.
        announce: function that takes a line of text, called before the imports, which take seconds.
            Defaults to `None`.

    Returns:
        The name of the backend that Keras runs on.

    Raises:
        UserError: the backend is unknown or not installed.
    """
    installed = [backend for backend in BACKENDS if importlib.util.find_spec(backend)]
    name = name or os.environ.get("KERAS_BACKEND") or (installed[0] if installed else None)
    if name is None:
        raise UserError(
            f"no backend of Keras is installed for {sys.executable}; 'make train' sets up .venv, "
            "and '.venv/bin/python main.py' runs in it; or install one: pip install tensorflow"
        )
    if name not in BACKENDS:
        raise UserError(f"the backend must be one of {', '.join(BACKENDS)}, received {name!r}")
    if name not in installed:
        raise UserError(
            f"the backend {name} is not installed; installed: {', '.join(installed) or 'none'}"
        )
    if announce is not None:
        announce(f"Loading Keras on {name}; this takes some seconds.")
    os.environ["KERAS_BACKEND"] = name
    _find_home()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # it warns of "retracing" when several networks are built, which is intended here
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with quiet_stderr():
        import keras

        # on any backend Keras imports TensorFlow, if it is installed, to set seeds and to save
        # models; here its announcements are held back
        if name == "tensorflow":
            import tensorflow
        elif "tensorflow" in installed:
            _import_or_block("tensorflow")
    if name == "tensorflow" and not on_accelerator():
        # with more threads, networks with attention differ in their last bits from run to run
        with contextlib.suppress(RuntimeError):  # TensorFlow is already initialized
            tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    _split_cpu(name)
    return keras.backend.backend()


def _import_or_block(package: str) -> None:
    """Imports a package that a run can do without; one that is broken counts as not installed."""
    try:
        importlib.import_module(package)
    except Exception:  # a damaged installation can fail in any way
        sys.meta_path.insert(0, _Broken(package))


class _Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes every further import of a package an ImportError, as Keras expects of a missing one."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        return importlib.machinery.ModuleSpec(name, self) if name == self.package else None

    def exec_module(self, module: Any) -> None:
        raise ImportError(f"{self.package} is installed, but broken")


def _find_home() -> None:
    """Gives Keras a temporary folder for its files where the user has no home folder."""
    if "KERAS_HOME" not in os.environ and os.path.expanduser("~") == "~":
        folder = tempfile.mkdtemp(prefix="keras-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["KERAS_HOME"] = folder


def _split_cpu(backend: str) -> None:
    asked = os.environ.get(CPU_DEVICES)
    if not asked or backend == "torch":
        return
    if not asked.isdecimal() or not int(asked):
        raise UserError(f"{CPU_DEVICES} must be a whole number of at least 1; received {asked!r}")
    with contextlib.suppress(RuntimeError):  # the backend is already initialized
        if backend == "jax":
            import jax

            jax.config.update("jax_num_cpu_devices", int(asked))
        else:
            import tensorflow as tf

            parts = [tf.config.LogicalDeviceConfiguration()] * int(asked)
            tf.config.set_logical_device_configuration(
                tf.config.list_physical_devices("CPU")[0], parts
            )


@contextlib.contextmanager
def quiet_stderr(show_on_error: bool = True) -> Iterator[None]:
    """A context that holds back what is written to stderr, by native libraries too.

    TensorFlow announces its CPU features before it reads its log level.

    Args:
        show_on_error: bool, whether to write what was held back if an error is raised. Defaults to
            `True`.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read() if show_on_error else b"")
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def on_accelerator() -> bool:
    """Returns whether the backend computes on a GPU or TPU."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU") + tf.config.list_physical_devices("TPU"))
    if keras.backend.backend() == "jax":
        import jax

        return jax.default_backend() != "cpu"
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def jit_compile() -> bool:
    """Returns the value of `jit_compile` to compile a model with.

    On TensorFlow, XLA makes these networks twice as slow on a CPU, and faster on a GPU. PyTorch
    runs without its compiler, which takes more time than it saves in a short training.
    """
    import keras

    from .backend_devices import replicas

    backend = keras.backend.backend()
    # on TensorFlow, XLA compiles for one device only
    return backend == "jax" or (backend == "tensorflow" and on_accelerator() and replicas() == 1)


def steps_without_waiting() -> int:
    """Returns after how many steps at most Python waits for their results.

    Callbacks read the loss after every call of the training function, and a GPU has nothing to do
    until Python has started the next step. With JAX on an accelerator a call takes several steps.
    """
    import keras

    return STEPS_AT_ONCE if keras.backend.backend() == "jax" and on_accelerator() else 1


def synchronize(model: keras.Model) -> None:
    """Updates the model's variables in the middle of `fit`, which keeps its state apart on JAX."""
    synchronize_jax_state(model)


def random_state() -> dict[str, np.ndarray]:
    """Returns the random state that the backend keeps beside Keras's seed generators.

    On PyTorch, Keras draws the masks of dropout from PyTorch's own generator.

    Returns:
        A dictionary from names to uint8 arrays.
    """
    import keras

    if keras.backend.backend() != "torch":
        return {}
    import torch

    states = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    return {f"random/{number}": state.numpy().copy() for number, state in enumerate(states)}


def restore_random_state(state: Mapping[str, np.ndarray]) -> None:
    """Restores what `random_state` returned, of as many GPUs as there are now."""
    import keras

    if not state or keras.backend.backend() != "torch":
        return
    import torch

    states = [torch.from_numpy(value.copy()) for value in state.values()]
    torch.set_rng_state(states[0])
    for number, value in enumerate(states[1 : 1 + torch.cuda.device_count()]):
        torch.cuda.set_rng_state(value, number)


def device() -> str:
    """Returns the name of the device that the backend computes on, such as `"cpu"`."""
    import keras

    if not on_accelerator():
        return "cpu"
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        device, *_ = tf.config.list_physical_devices("GPU") or [None]
        details = tf.config.experimental.get_device_details(device) if device else {}
        return details.get("device_name", "accelerator")
    if keras.backend.backend() == "jax":
        import jax

        return jax.devices()[0].device_kind
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "mps"


def threads() -> int:
    """Returns how many threads may compute on the CPU; the order of sums depends on it."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    given = [os.environ.get(name, "") for name in names]
    limits = [int(limit) for limit in given if limit.isdecimal() and int(limit)]
    affinity = getattr(os, "sched_getaffinity", None)
    return min([len(affinity(0)) if affinity else os.cpu_count() or 1, *limits])


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a result depends on."""
    import keras
    import numpy

    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "numpy": numpy.__version__,
        "backend": backend,
        backend: importlib.import_module(backend).__version__,
    }
