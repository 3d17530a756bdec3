"""A trained network, and what one must know to use it: its images' shape and its classes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from models.precision import in_precision

from ..data.data_format import image_shape_of
from ..evaluation.networks import load_trained, run_of
from ..runs.run_folder import numbered_class_names, read_class_names, read_config
from ..system.backend_precision import FLOAT32, precision_of_run
from ..system.errors import UserError
from .scores import ends_in_softmax


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A network to predict with.

    Args:
        network: a `keras.Model` from raw pixels to the scores of the classes.
        shape: tuple of ints, height, width and channels of its images.
        class_names: tuple of strings.
        are_probabilities: bool, whether the scores are probabilities, not logits; `None` if only
            their values can tell.
    """

    network: keras.Model
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    are_probabilities: bool | None


def open_trained_network(
    source: str, image_size: int | None = None, precision: str = "auto"
) -> TrainedNetwork:
    """Loads a network with its classes.

    Args:
        source: string, the path of a run's folder, or of a `.keras` file of a network that takes
            raw pixels. A file in the folder of a run has that run's classes.
        image_size: int, height and width to resize images to, for a network that takes any size.
            Defaults to the network's own.
        precision: string, the dtype policy to compute in, or `"auto"`, that of the training where
            this device has units for it. Defaults to `"auto"`.

    Returns:
        A `TrainedNetwork`.

    Raises:
        UserError: the network cannot be loaded, does not give each image one class of several, or
            takes images of any size and `image_size` is not given, or of one size and another is
            given.
    """
    run = run_of(source)
    config = read_config(run) if run else {}  # imports modules of the user's own, too
    network = load_trained(source)
    shape = _shape_at(image_size, network, source)
    classes = _classes(network, source)
    given = ends_in_softmax(network, source)
    names = read_class_names(run, classes) if run else numbered_class_names(classes)
    return TrainedNetwork(in_precision_of_run(network, config, precision), shape, names, given)


def in_precision_of_run(
    network: keras.Model, config: Mapping[str, Any], precision: str
) -> keras.Model:
    """Returns the network of a run in the precision to compute in.

    Args:
        network: a `keras.Model`.
        config: dictionary, the run's `config.json`; empty for a network without a run.
        precision: string, the dtype policy that is asked for, or `"auto"`.
    """
    return in_precision(network, precision_of_run(precision, config.get("precision", FLOAT32)))


def image_shape(network: keras.Model, source: str) -> tuple[int | None, int | None, int]:
    """Returns the shape of the images that a network takes.

    Args:
        network: a `keras.Model`.
        source: string, what the user calls it, for messages.

    Returns:
        `(height, width, channels)`, with `None` for any height or width.

    Raises:
        UserError: it does not take one batch of images with 1 or 3 channels.
    """
    shape = network.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise UserError(f"{source} must take one batch of images; it takes inputs of {shape}")
    height, width, channels = image_shape_of(network)
    if channels not in (1, 3):
        raise UserError(f"{source} must take images with 1 or 3 channels; it takes {channels}")
    return height, width, channels


def fixed_image_shape(network: keras.Model, source: str) -> tuple[int, int, int]:
    """Returns what `image_shape` does, of a network that takes images of one size.

    Args:
        network: a `keras.Model`.
        source: string, what the user calls it, for messages.

    Raises:
        UserError: it does not take one batch of images of a fixed size with 1 or 3 channels.
    """
    height, width, channels = image_shape(network, source)
    if height is None or width is None:
        raise UserError(
            f"{source} must take images of a fixed size with 1 or 3 channels; it takes "
            f"{network.input_shape}"
        )
    return height, width, channels


def _shape_at(image_size, network, source):
    height, width, channels = image_shape(network, source)
    if image_size is not None and any(size not in (None, image_size) for size in (height, width)):
        raise UserError(
            f"--image-size {image_size}: the network of {source} takes images of "
            f"{height}x{width} pixels; leave --image-size out"
        )
    if image_size is None and None in (height, width):
        raise UserError(
            f"the network of {source} takes images of any size; give --image-size, the height and "
            "width to resize them to"
        )
    return height or image_size, width or image_size, channels


def _classes(network, source):
    shape = network.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or not shape[1] or shape[1] < 2:
        raise UserError(
            f"{source} must return a score for each of two or more classes, (None, classes); it "
            f"returns {shape}"
        )
    return shape[1]
