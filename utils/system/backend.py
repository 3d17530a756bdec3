"""The one place that knows which Keras backend runs, and on what device."""

import contextlib
import importlib.util
import logging
import os
import platform
import sys
import tempfile

from models.private_api import synchronize_jax_state

from .errors import UserError

BACKENDS = ("tensorflow", "jax", "torch")
# environment variable: so many devices are made of the CPU, to try what is for several
CPU_DEVICES = "ATTENTION_ZOO_CPU_DEVICES"


def choose_backend(name=None):
    """Settles Keras's backend and imports Keras; the first import in a process decides.

    Args:
        name: `"tensorflow"`, `"jax"`, `"torch"`, or `None`: what `KERAS_BACKEND` says, and
            otherwise the first of the three that is installed.

    Returns:
        The name of the backend.

    Raises:
        UserError: the backend is unknown or not installed.
    """
    installed = [backend for backend in BACKENDS if importlib.util.find_spec(backend)]
    name = name or os.environ.get("KERAS_BACKEND") or (installed[0] if installed else None)
    if name not in BACKENDS:
        raise UserError(f"the backend must be one of {', '.join(BACKENDS)}, received {name!r}")
    if name not in installed:
        raise UserError(
            f"the backend {name} is not installed; installed: {', '.join(installed) or 'none'}"
        )
    os.environ["KERAS_BACKEND"] = name
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # its warnings are for those who write networks: of "retracing", where several are built
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with quiet_stderr():
        import keras

        # Keras imports TensorFlow, where it is installed, to set seeds and to save on any backend;
        # better now, while its announcements are held back
        if "tensorflow" in installed:
            import tensorflow
    if name == "tensorflow" and not on_accelerator():
        # with more, networks with attention differ in their last bits from run to run
        with contextlib.suppress(RuntimeError):  # in a process where TensorFlow runs already
            tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    _split_cpu(name)
    return keras.backend.backend()


def _split_cpu(backend):
    asked = os.environ.get(CPU_DEVICES)
    if not asked or backend == "torch":
        return
    if not asked.isdecimal() or not int(asked):
        raise UserError(f"{CPU_DEVICES} must be a whole number of at least 1; received {asked!r}")
    with contextlib.suppress(RuntimeError):  # in a process where the backend runs already
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
def quiet_stderr(unless_failed=True):
    """Holds back what native libraries print, at all or unless an error is raised.

    TensorFlow announces its CPU features before its log level is read.

    Args:
        unless_failed: bool, whether an error brings out what was held back. Defaults to `True`.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read() if unless_failed else b"")
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def on_accelerator():
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


def jit_compile():
    """Returns the `jit_compile` to train with.

    XLA makes these networks twice as slow on TensorFlow's CPU backend, and faster on a GPU. PyTorch
    runs eagerly: its compiler takes longer than a short training saves.
    """
    import keras

    from .backend_devices import replicas

    backend = keras.backend.backend()
    # a program of XLA is one device's on TensorFlow
    return backend == "jax" or (backend == "tensorflow" and on_accelerator() and replicas() == 1)


def synchronize(model):
    """Writes what a running training holds back into the model's variables: JAX keeps it apart."""
    synchronize_jax_state(model)


def gradient(function, x):
    """Differentiates by a backend's own means: Keras has none that are common to all three.

    Args:
        function: function of a tensor, such as a Keras model, that returns a tensor.
        x: array.

    Returns:
        The gradient by `x` of the sum of what the function returns, as an array.
    """
    import keras

    x = keras.ops.convert_to_tensor(x)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            total = keras.ops.sum(function(x))
        found = tape.gradient(total, x)
    elif keras.backend.backend() == "jax":
        import jax

        found = jax.grad(lambda x: keras.ops.sum(function(x)))(x)
    else:
        import torch

        x = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(keras.ops.sum(function(x)), x)
    return keras.ops.convert_to_numpy(found)


def random_state():
    """Returns the random state that a backend keeps beside Keras's seed generators.

    PyTorch draws the masks of a dropout from a generator of its own.

    Returns:
        A dictionary from names to uint8 arrays.
    """
    import keras

    if keras.backend.backend() != "torch":
        return {}
    import torch

    states = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    return {f"random/{number}": state.numpy().copy() for number, state in enumerate(states)}


def restore_random_state(state):
    """Puts back what `random_state` returned; on other devices, as far as they are the same."""
    import keras

    if not state or keras.backend.backend() != "torch":
        return
    import torch

    states = [torch.from_numpy(value.copy()) for value in state.values()]
    torch.set_rng_state(states[0])
    for number, value in enumerate(states[1 : 1 + torch.cuda.device_count()]):
        torch.cuda.set_rng_state(value, number)


def device():
    """Returns what the backend computes on: `"cpu"` or the accelerator's name."""
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


def threads():
    """Returns how many threads the CPU's part may use, which decides the order of its sums."""
    limits = [os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")]
    limits = [int(limit) for limit in limits if limit.isdecimal() and int(limit)]
    affinity = getattr(os, "sched_getaffinity", None)
    return min([len(affinity(0)) if affinity else os.cpu_count(), *limits])


def versions():
    """Returns the versions of what a result depends on, as a dictionary of strings."""
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
