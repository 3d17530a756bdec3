"""Predictions for image files, read ahead of the network; those that cannot be read are named."""

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..data.batch_sizes import images_per_batch
from ..data.data_format import in_data_format
from ..data.images.decoding import read_file
from ..system.backend import threads
from ..system.errors import UserError
from .image_paths import ImagePath
from .scores import look_like_probabilities, softmax
from .trained_network import TrainedNetwork

LARGEST_BATCH = 128  # images


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a network says of an image.

    Args:
        image: an `ImagePath`.
        probabilities: float array `(classes,)`; `None` for an image that cannot be read.
        error: string, why it cannot be read, or empty.
    """

    image: ImagePath
    probabilities: np.ndarray | None
    error: str = ""

    def top(self, count: int) -> list[tuple[int, float]]:
        """Returns the most probable classes, as pairs of a class's number and its probability."""
        assert self.probabilities is not None
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(int(number), float(self.probabilities[number])) for number in order]


def predictions(trained: TrainedNetwork, images: Sequence[ImagePath]) -> Iterator[Prediction]:
    """Yields the prediction for every image, in order.

    Args:
        trained: a `TrainedNetwork`.
        images: sequence of `ImagePath`s.

    Yields:
        A `Prediction` each.
    """
    size = images_per_batch(trained.shape, LARGEST_BATCH)
    as_probabilities = _AsProbabilities(trained.are_probabilities)
    batches = [images[first : first + size] for first in range(0, len(images), size)]
    with ThreadPoolExecutor(threads()) as pool:

        def start(batch):
            return [pool.submit(_read, image.path, trained.shape) for image in batch]

        reading = start(batches[0]) if batches else []
        for number, batch in enumerate(batches):
            read = [each.result() for each in reading]
            reading = start(batches[number + 1]) if number + 1 < len(batches) else []
            yield from _predict_batch(trained, as_probabilities, batch, read)


def _read(path: Path, shape: Sequence[int]) -> np.ndarray | UserError:
    try:
        return read_file(path, shape)
    except UserError as error:
        return error


class _AsProbabilities:
    """Makes probabilities of scores, of all batches in the same way."""

    def __init__(self, given: bool | None) -> None:
        self.given = given  # `None` until the scores of the first batch tell

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        if self.given is None:
            self.given = look_like_probabilities(scores)
        return scores if self.given else softmax(scores)


def _predict_batch(trained, as_probabilities, images, read):
    pixels = [each for each in read if not isinstance(each, UserError)]
    scores = iter(())
    if pixels:
        batch = in_data_format(np.stack(pixels))
        outputs = np.asarray(trained.network.predict_on_batch(batch), "float64")
        if not np.isfinite(outputs).all():
            raise UserError(
                "the network's outputs are not finite numbers; predict with --precision float32 "
                "or, if that is what it computed in, train again"
            )
        scores = iter(as_probabilities(outputs))
    for image, each in zip(images, read, strict=True):
        if isinstance(each, UserError):
            yield Prediction(image, None, str(each))
        else:
            yield Prediction(image, next(scores))
