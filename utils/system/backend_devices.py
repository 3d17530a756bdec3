"""What each Keras backend does of its own where several devices train one network."""

import re

import keras

from models.private_api import all_layers

from .errors import UserError

# seconds: until the last host has to be there, and after which one that says nothing is given up
HOSTS_MEET, HOST_IS_LOST = 300, 60


def local_devices():
    """Returns how many devices of this host can train together."""
    if keras.backend.backend() == "tensorflow":
        return len(_tensorflow_devices())
    if keras.backend.backend() == "jax":
        import jax

        return jax.local_device_count()
    return 1


def _tensorflow_devices():
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


def data_parallel(count):
    """Returns what has the `scope` in which `count` devices of every host train together."""
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


def replicas():
    """Returns by how many a step's gradients are added up: TensorFlow's replicas, and 1 on JAX.

    JAX has one program for all devices, and sees the whole batch in it.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def join_hosts(coordinator, hosts, host_id):
    """Has JAX train with other processes; to be called before it computes anything.

    `keras.distribution.initialize` does the same, and cannot be told how long to wait.

    Args:
        coordinator: string, address and port of the first, or `None`: JAX finds out.
        hosts: int.
        host_id: int, the number of this one, or `None`: JAX finds out.

    Returns:
        The number of this one.

    Raises:
        UserError: they do not meet.
    """
    import jax

    if not jax.distributed.is_initialized():
        # it would take SIGTERM, which a training has its own answer to
        jax.config.update("jax_enable_preemption_service", False)
        try:
            jax.distributed.initialize(
                coordinator,
                hosts,
                host_id,
                initialization_timeout=HOSTS_MEET,
                heartbeat_timeout_seconds=HOST_IS_LOST,
                shutdown_timeout_seconds=24 * 3600,  # as long as the first may evaluate
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"the {hosts} hosts do not meet: {reason} (give --coordinator ADDRESS:PORT and "
                "--host-id, the same address on all of them)"
            ) from error
    return jax.process_index()


def is_of_other_hosts(error):
    """Returns whether an error is one that JAX raises in a step when another host is gone."""
    import jax

    # where it is told of the error by another thread, it makes a ValueError of it
    status = re.match("(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|DEADLINE_EXCEEDED): ", str(error))
    return isinstance(error, jax.errors.JaxRuntimeError) or status is not None


def gather(value):
    """Returns what every host calls this with, as an array `(hosts, ...)`."""
    import numpy
    from jax.experimental import multihost_utils

    value = numpy.asarray(value)
    return multihost_utils.process_allgather(value).reshape(-1, *value.shape)


def device_parts(name, variable):
    """Returns what a Keras variable consists of: itself, or a part that each replica adds to.

    TensorFlow's replicas each count a metric of their own, and add them up when it is read.

    Args:
        name: string.
        variable: a Keras variable.

    Returns:
        A dictionary from names to what has `shape` and `assign`.
    """
    if replicas() == 1 or variable.synchronization != "on_read":
        return {name: variable}
    import tensorflow as tf

    parts = tf.distribute.get_strategy().experimental_local_results(variable.value)
    return {f"{name}/{number}": part for number, part in enumerate(parts)}


def synchronize_normalization(model, together):
    """Has TensorFlow's replicas normalize by the moments of all their images, or by their own.

    Args:
        model: a `keras.Model`.
        together: bool.
    """
    if replicas() > 1:
        for layer in all_layers(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = together
