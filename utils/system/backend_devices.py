"""Training on several devices: what differs between the Keras backends."""

import re
from typing import Any

import keras
import numpy as np

from models.private_api import all_layers

from .errors import UserError

CONNECT_TIMEOUT = 300  # seconds for all hosts to start
HEARTBEAT_TIMEOUT = 60  # seconds without a sign of life, after which a host counts as lost


def local_devices() -> int:
    """Returns how many devices of this host can train together."""
    if keras.backend.backend() == "tensorflow":
        return len(_tensorflow_devices())
    if keras.backend.backend() == "jax":
        import jax

        return jax.local_device_count()
    return 1


def _tensorflow_devices() -> list[str]:
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


def data_parallel(count: int) -> Any:
    """Returns the strategy for data-parallel training on `count` devices of every host.

    What is built and fitted within its `scope()` trains on all of them.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.MirroredStrategy(_tensorflow_devices()[:count])
    import jax

    devices = [
        f"{device.platform}:{device.id}"
        for host in range(jax.process_count())
        for device in jax.local_devices(process_index=host)[:count]
    ]
    return keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)


def replicas() -> int:
    """Returns over how many replicas a step's gradients are summed: 1 on JAX and PyTorch.

    JAX runs one program on all devices, which sees the whole batch.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def join_hosts(coordinator: str | None, hosts: int, host_id: int | None) -> int:
    """Connects JAX to the other hosts; call it before anything is computed.

    `keras.distribution.initialize` does the same, but without a choice of timeouts.

    Args:
        coordinator: string, address and port of the first host, or `None` to have JAX detect it.
        hosts: int, the number of hosts.
        host_id: int, the number of this host, or `None` to have JAX detect it.

    Returns:
        The number of this host.

    Raises:
        UserError: the hosts do not connect.
    """
    import jax

    if not jax.distributed.is_initialized():
        # it would handle SIGTERM, which training handles itself
        jax.config.update("jax_enable_preemption_service", False)
        try:
            jax.distributed.initialize(
                coordinator,
                hosts,
                host_id,
                initialization_timeout=CONNECT_TIMEOUT,
                heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
                shutdown_timeout_seconds=24 * 3600,  # while the first host evaluates
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"the {hosts} hosts do not connect: {reason} (give --coordinator ADDRESS:PORT and "
                "--host-id, the same address on all of them)"
            ) from error
    return jax.process_index()


def is_lost_host_error(error: Exception) -> bool:
    """Returns whether an error is one that JAX raises in a step when another host is gone."""
    import jax

    # an error from another thread becomes a ValueError with the same text
    status = re.match("(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|DEADLINE_EXCEEDED): ", str(error))
    return isinstance(error, jax.errors.JaxRuntimeError) or status is not None


def gather(value: Any) -> np.ndarray:
    """Gathers a value from every host; all hosts must call this at the same step.

    Args:
        value: number or array, of the same shape on every host.

    Returns:
        An array `(hosts, ...)`.
    """
    from jax.experimental import multihost_utils

    value = np.asarray(value)
    return multihost_utils.process_allgather(value).reshape(-1, *value.shape)


def device_parts(name: str, variable: Any) -> dict[str, Any]:
    """Returns the parts of a Keras variable: itself, or one part per replica.

    Each of TensorFlow's replicas counts metrics in a part of its own; reading one sums the parts.

    Args:
        name: string.
        variable: a Keras variable.

    Returns:
        A dictionary from names, `name` or `name/0`, `name/1`, ..., to objects with `shape` and
        `assign`.
    """
    if replicas() == 1 or variable.synchronization != "on_read":
        return {name: variable}
    import tensorflow as tf

    parts = tf.distribute.get_strategy().experimental_local_results(variable.value)
    return {f"{name}/{number}": part for number, part in enumerate(parts)}


def synchronize_normalization(model: keras.Model, synchronized: bool) -> None:
    """Sets whether batch normalization takes its moments over the batches of all replicas.

    It has an effect only on TensorFlow with several replicas.

    Args:
        model: a `keras.Model`.
        synchronized: bool; with `False`, each replica takes those of its own images.
    """
    if replicas() > 1:
        for layer in all_layers(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = synchronized
