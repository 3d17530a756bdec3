"""What layers make of their weights once, and have to make again when weights are set."""

import keras

from .private_api import all_layers


def finalize_layers(model: keras.Model) -> None:
    """Lets every `Normalization` in a model compute with the weights that it has now.

    It computes with constants, which Keras makes of its weights after `adapt` and in loading a
    file, but not in `set_weights` and `assign`: the pixels would then be taken as they are.

    Args:
        model: a `keras.Model`, before it is traced.
    """
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
