"""Where the fast forms apply that join passes over a feature map."""

import math

import keras

# of a feature map: for less, passes cost as little apart, or compiling costs more than it saves
LEAST_POSITIONS = 16
LEAST_VALUES = 4096
# what Keras's trainer calls the functions it traces; what another traces may be exported, and then
# should hold nothing of XLA
KERAS_STEPS = {
    "one_step_on_data",
    "one_step_on_data_distributed",
    "multi_step_on_data",
    "multi_step_on_iterator",
}


def passes_join(x):
    """Whether several passes over a map can be joined to one, and it is worth it."""
    return (
        is_tensorflow_on_cpu()
        and x.dtype == "float32"
        and None not in x.shape[1:]
        and math.prod(x.shape[1:3]) >= LEAST_POSITIONS
        and math.prod(x.shape[1:]) >= LEAST_VALUES
        and in_a_step_of_keras()
    )


def in_a_step_of_keras():
    """Whether the graph that is being traced belongs to a step of Keras's trainer."""
    import tensorflow as tf

    graph, names = tf.compat.v1.get_default_graph(), set()
    while hasattr(graph, "outer_graph"):
        names.add(graph.name)
        graph = graph.outer_graph
    return bool(names & KERAS_STEPS)


def is_tensorflow_on_cpu():
    """Whether the backend is TensorFlow, and has no GPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")
