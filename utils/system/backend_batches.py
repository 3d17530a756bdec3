"""Batches for `fit` and `predict`, without the pauses of Keras's own reader on TensorFlow.

On TensorFlow, Keras reads every data set through `tf.data`, whose autotuning runs in a thread that
sleeps twice as long each time. Now and then the end of an epoch waits for that thread to wake:
after N seconds of training for up to N seconds, at most 60, in which nothing is computed (observed
with TensorFlow 2.21). There is nothing here to tune, so autotuning is turned off.
"""

from collections.abc import Iterator
from typing import Any

import keras

PREFETCH = 2  # batches that `tf.data` keeps ready


def keras_input(batches: Any) -> Any:
    """Returns what to pass to `fit` or `predict` for batches.

    Args:
        batches: a `keras.utils.PyDataset` whose length no longer changes, or `None`.

    Returns:
        On TensorFlow a `tf.data.Dataset` that reads the same batches again in every epoch; on other
        backends `batches`.
    """
    if batches is None or keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def read_all() -> Iterator[Any]:
        for number in range(batches.num_batches):
            yield batches[number]

    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), batches[0]
    )
    data = tf.data.Dataset.from_generator(read_all, output_signature=signature)
    data = data.prefetch(PREFETCH)
    data = data.apply(tf.data.experimental.assert_cardinality(batches.num_batches))
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)
