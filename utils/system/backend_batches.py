"""How batches reach a training, without what Keras's way there costs on TensorFlow.

Keras reads everything through `tf.data`, which tunes itself in a thread that sleeps twice as long
each time. What ends an epoch now and then has to wait for it to wake: after N seconds of training
up to N, at most 60, in which nothing is computed (seen with TensorFlow 2.21). Nothing here is for
it to tune.
"""

import keras

AHEAD = 2  # batches that are ready before they are asked for


def keras_input(batches):
    """Returns what `fit` or `predict` should be given of batches.

    Args:
        batches: a `keras.utils.PyDataset` whose length does not change any more, or `None`.

    Returns:
        On TensorFlow a `tf.data.Dataset` of the same batches, which asks for them anew in every
        epoch; on other backends `batches`.
    """
    if batches is None or keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def every():
        for number in range(batches.num_batches):
            yield batches[number]

    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), batches[0]
    )
    data = tf.data.Dataset.from_generator(every, output_signature=signature).prefetch(AHEAD)
    data = data.apply(tf.data.experimental.assert_cardinality(batches.num_batches))
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)
