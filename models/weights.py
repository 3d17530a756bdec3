"""Weights of a saved model, into a network with layers of the same names."""

from pathlib import Path

import keras


def load_weights_by_name(model, path):
    """Copies the weights of a saved model into the layers of `model` that bear the same names.

    Args:
        model: the Keras model to fill; layers of the file that it does not have are passed over.
        path: path of a `.keras` file, read in Keras's safe mode.

    Raises:
        ValueError: no such file, not a `.keras` file, or a layer of `model` that the file does not
            have in the same shape; nothing is copied then.
    """
    if not Path(path).is_file() or Path(path).suffix != ".keras":
        raise ValueError(
            f"weights must be None or the path of an existing .keras file, received {path!r}"
        )
    source = {layer.name: layer for layer in keras.saving.load_model(path, compile=False).layers}
    misfits = []
    for layer in model.layers:
        wanted = [tuple(w.shape) for w in layer.weights]
        found = source[layer.name].weights if layer.name in source else []
        if wanted != [tuple(w.shape) for w in found]:
            misfits.append(f"{layer.name} {wanted}")
    if misfits:
        raise ValueError(f"{path} does not have these layers in these shapes: {', '.join(misfits)}")
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(source[layer.name].get_weights())
