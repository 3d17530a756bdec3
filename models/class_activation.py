"""Grad-CAM: which parts of an image raise the score of a class."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import keras
import numpy as np
from keras import ops

from .gradients import gradient
from .graphs import as_graph, deep_graphs
from .private_api import calls, node_of
from .sites import stage_ends

BATCH_SIZE = 100


def grad_cam(
    model: keras.Model,
    images: Any,
    class_index: int | Sequence[int] | np.ndarray | None = None,
    layer: str | None = None,
    output: str | int = 0,
) -> np.ndarray:
    """Computes Grad-CAM: which parts of an image raise the score of a class.

    It is a weighted sum of a layer's feature maps, without its negative part. The weight of a
    feature map is the gradient of the class's logit with respect to it, averaged over the
    positions. Where the sum is negative, the image speaks for other classes.

    Args:
        model: Functional or built Sequential `keras.Model` from images to scores of classes, with
            or without models inside it. The logits are what its output computes before its
            activation, if it has one, or the output of a layer called `"logits"`.
        images: array `(n, height, width, channels)`, or as Keras's `image_data_format` has it, as
            the model takes them.
        class_index: int, the class to explain; an array of them, one for each image; or `None`
            (default), the class that the model predicts.
        layer: string, the layer's name. Defaults to the last layer whose output is a feature map,
            which may be a model inside the model.
        output: string or int, of a model with several outputs the one to explain: its name or its
            number. Defaults to 0, the first.

    Returns:
        A float32 array `(n, height, width)` of the images' size, with no negative value.

    Raises:
        ValueError: the model has no such layer, output or class, `class_index` is neither an
            integer nor one for each image, or the logits do not depend on the image through that
            layer alone.

    Example:

    >>> model = keras.applications.ResNet50()
    >>> cams = grad_cam(model, keras.applications.resnet50.preprocess_input(images))
    >>> pictures = overlay(images, cams)

    Reference:

    - [Grad-CAM](https://arxiv.org/abs/1610.02391), equations 1 and 2
    """
    images = np.asarray(images)
    classes = None if class_index is None else _one_for_each(class_index, len(images))
    explained = GradCAM(model, layer, output)
    return explained(images, explained.predict(images) if classes is None else classes)


def _one_for_each(class_index: Any, count: int) -> np.ndarray:
    """A class for each image, an int array `(count,)`."""
    classes = np.asarray(class_index)
    is_integer = np.issubdtype(classes.dtype, np.integer) or not classes.size
    if not is_integer or classes.shape not in ((), (count,)):
        raise ValueError(
            "class_index must be None, an integer, or an array of integers, one for each of the "
            f"{count} images; received {class_index!r}"
        )
    return np.broadcast_to(classes.astype("int64"), (count,))


def overlay(images: Any, cams: Any, strength: float = 0.5) -> np.ndarray:
    """Draws Grad-CAM over images, for people to look at.

    The colors are Matplotlib's "inferno", which change evenly in lightness: they can be read
    without color vision. Each map is drawn as a share of its own maximum.

    Args:
        images: array `(n, height, width, channels)` of 1 or 3 channels, in 0 to 255.
        cams: array `(n, height, width)`, as `grad_cam` returns it.
        strength: float in [0, 1], share of the map in the picture. Defaults to 0.5.

    Returns:
        A uint8 array `(n, height, width, 3)`.

    Raises:
        ValueError: the images and maps are not of the same number and size, the images have other
            channels, or `strength` is not in [0, 1].
        ImportError: Matplotlib is not installed (`pip install matplotlib`).
    """
    from matplotlib import colormaps

    images, cams = np.asarray(images, "float32"), np.asarray(cams, "float32")
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.shape[:-1] != cams.shape:
        raise ValueError(
            "images must be (n, height, width, channels) of 1 or 3 channels and cams (n, height, "
            f"width) of the same sizes; received {images.shape} and {cams.shape}"
        )
    if not isinstance(strength, Real) or not 0 <= strength <= 1:
        raise ValueError(f"strength must be a number from 0 to 1, received {strength!r}")
    highest = np.maximum(cams.max(axis=(1, 2), keepdims=True), np.finfo("float32").tiny)
    colors = 255 * colormaps["inferno"](cams / highest)[..., :3]
    return np.rint((1 - strength) * images + strength * colors).clip(0, 255).astype("uint8")


class GradCAM:
    """Computes Grad-CAM as `grad_cam` does, for any number of batches.

    The backend compiles the network at the first batch; later ones are faster.

    Args:
        network: the `model` of `grad_cam`.
        layer, output: as in `grad_cam`.

    Raises:
        ValueError: as in `grad_cam`.
    """

    def __init__(
        self, network: keras.Model, layer: str | None = None, output: str | int = 0
    ) -> None:
        with deep_graphs():
            network = as_graph(network)
            scores = _output(network, output)
            features = _feature_map(network, layer, scores)
            self._body = keras.Model(network.inputs, features)
            self._scores = keras.Model(network.inputs, scores)
            try:
                self._head = keras.Model(features, _logits(network, scores))
            except ValueError as error:
                raise ValueError(
                    f"the logits depend on more than the output of layer {layer!r}: {error}"
                ) from None

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the class that the network predicts for each image, an int array `(n,)`."""
        batches = range(0, len(images), BATCH_SIZE)
        scores = [self._scores.predict_on_batch(images[i : i + BATCH_SIZE]) for i in batches]
        return np.concatenate([np.zeros(0, "int64"), *(s.argmax(axis=-1) for s in scores)])

    def __call__(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        count = self._head.output_shape[-1]
        if len(classes) and not (classes.min() >= 0 and classes.max() < count):
            raise ValueError(f"class_index must be from 0 to {count - 1}, received {classes}")
        size = images.shape[1:3] if _channels_last() else images.shape[2:4]
        cams = [np.zeros((0, *size), "float32")]
        for start in range(0, len(images), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            cams.append(self._of_batch(images[batch], classes[batch], size))
        return np.concatenate(cams)

    def _of_batch(
        self, images: np.ndarray, classes: np.ndarray, size: tuple[int, ...]
    ) -> np.ndarray:
        one_hot = ops.one_hot(classes, self._head.output_shape[-1])
        maps = self._body.predict_on_batch(images)
        gradients = gradient(lambda x: self._head(x, training=False) * one_hot, maps)
        return _resized(_weighted_sum(maps, gradients), size)


def stage_layers(network: keras.Model) -> dict[tuple[int, int], str]:
    """Finds the last layer of each stage of a network, which Grad-CAM can explain.

    Args:
        network: Functional Keras model.

    Returns:
        A dictionary from height and width of a stage's feature maps to the layer's name, the
        largest first.
    """
    spatial_axes = slice(1, 3) if _channels_last() else slice(2, 4)
    ends = stage_ends(network)
    return {tuple(end.outputs[0].shape[spatial_axes]): end.operation.name for end in ends}


def _output(network: keras.Model, output: str | int) -> keras.KerasTensor:
    """The output of a network that is to be explained, by its name or its number."""
    names = list(network.output_names)
    if output in names:
        return network.outputs[names.index(output)]
    if isinstance(output, int) and 0 <= output < len(names):
        return network.outputs[output]
    raise ValueError(f"no output of {network.name!r} is {output!r}; it has {', '.join(names)}")


def _feature_map(
    network: keras.Model, layer: str | None, scores: keras.KerasTensor
) -> keras.KerasTensor:
    """The output of a layer, or the last of rank 4; of a model inside the network, as called."""
    if layer is None:
        maps = list(_feature_maps(_up_to(network, scores)).values())
        if not maps:
            raise ValueError(f"{network.name!r} has no feature map, a tensor of rank 4")
        return maps[-1]
    named = _feature_maps(network)
    if layer not in named:
        known = layer in {node.operation.name for node in calls(network)}
        raise ValueError(
            f"no layer of {network.name!r} {'with feature maps ' if known else ''}is called "
            f"{layer!r}; it has {', '.join(named)}"
        )
    return named[layer]


def _feature_maps(network: keras.Model) -> dict[str, keras.KerasTensor]:
    """The outputs of rank 4, by the names of their layers, from the first to the last."""
    outputs = {node.operation.name: node.outputs[0] for node in calls(network)}
    return {name: output for name, output in outputs.items() if len(output.shape) == 4}


def _up_to(network: keras.Model, scores: keras.KerasTensor) -> keras.Model:
    """The part of a network that one of its outputs is computed by."""
    return network if len(network.outputs) == 1 else keras.Model(network.inputs, scores)


def _logits(network: keras.Model, scores: keras.KerasTensor) -> keras.KerasTensor:
    """The scores of the classes before the activation that makes them probabilities."""
    for node in calls(network) if len(network.outputs) == 1 else ():
        if node.operation.name == "logits":
            return node.outputs[0]
    node = node_of(scores)
    last, inputs = node.operation, node.input_tensors[0]
    if isinstance(last, keras.layers.Activation | keras.layers.Softmax):
        return inputs
    if getattr(last, "activation", None) in (None, keras.activations.linear):
        return scores
    config = {**last.get_config(), "activation": "linear", "name": "logits"}
    linear = type(last).from_config(config)
    logits = linear(inputs)
    linear.set_weights(last.get_weights())
    return logits


def _weighted_sum(maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    if not _channels_last():
        maps, gradients = (x.transpose(0, 2, 3, 1) for x in (maps, gradients))
    weights = gradients.mean(axis=(1, 2), keepdims=True)
    return np.maximum((weights * maps).sum(axis=-1), 0).astype("float32")


def _resized(maps: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    resized = ops.image.resize(
        maps[..., None], size, interpolation="bilinear", data_format="channels_last"
    )
    return ops.convert_to_numpy(resized)[..., 0]


def _channels_last() -> bool:
    return keras.config.image_data_format() == "channels_last"
