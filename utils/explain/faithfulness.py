"""Faithfulness of an explanation: how much a prediction depends on the pixels that it marks."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy.integrate import trapezoid
from scipy.ndimage import gaussian_filter

from ..data.batch_sizes import images_per_batch

STEPS = 32  # in which all pixels are deleted or inserted
BLUR = 1 / 8  # standard deviation as a share of the image's side: no object can be recognized
LARGEST_BATCH = 512  # images


@dataclasses.dataclass(frozen=True)
class Faithfulness:
    """The class's probability while an image's pixels are deleted or inserted step by step.

    Args:
        deletion, insertion: float arrays `(n, STEPS + 1)`, the probability after each step, from no
            pixel to all, with the most salient pixels first.
        random_deletion, random_insertion: the same with the pixels in random order.
    """

    deletion: np.ndarray
    insertion: np.ndarray
    random_deletion: np.ndarray
    random_insertion: np.ndarray

    def gain(self, kind: str) -> tuple[float, float | None]:
        """Compares the explanation's order of the pixels with the random one.

        Args:
            kind: `"deletion"`, for which a smaller area under the curve is better, or
                `"insertion"`, for which a larger one is.

        Returns:
            Two numbers: the mean over the images of the difference between the two areas, positive
            if the explanation is better than chance, and the standard error of that mean, or
            `None` for a single image, which has none.
        """
        salient = area_under_curves(getattr(self, kind))
        random = area_under_curves(getattr(self, f"random_{kind}"))
        differences = random - salient if kind == "deletion" else salient - random
        count = len(differences)
        error = float(differences.std(ddof=1) / math.sqrt(count)) if count > 1 else None
        return float(differences.mean()), error


def area_under_curves(curves: np.ndarray) -> np.ndarray:
    """Integrates each curve over the share of pixels, from 0 to 1, by the trapezoidal rule.

    Args:
        curves: array `(n, steps)`.

    Returns:
        A float64 array `(n,)`: differences of areas are small beside them.
    """
    return trapezoid(np.asarray(curves, "float64"), dx=1 / (curves.shape[1] - 1), axis=1)


def faithfulness(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    saliency: np.ndarray,
    classes: np.ndarray,
    seed: int = 0,
) -> Faithfulness:
    """Measures explanations by deleting and inserting pixels.

    Deletion replaces the image's pixels, the most salient first, with the image's mean color.
    Insertion starts from a blurred image and restores its pixels in the same order. The more the
    prediction depends on the pixels that the explanation marks, the sooner the class's probability
    falls or rises. Networks differ in how confident they are, so every order is compared with a
    random one on the same network.

    Args:
        predict: function from images to an array of class probabilities.
        images: uint8 array `(n, height, width, channels)`.
        saliency: float array `(n, height, width)`.
        classes: int array `(n,)`, for each image the class whose probability is measured.
        seed: int, of the random order. Defaults to 0.

    Returns:
        A `Faithfulness`.

    Reference:

    - Deletion and insertion: [RISE](https://arxiv.org/abs/1806.07421), section 4.3
    """
    count, height, width, _ = images.shape
    rng = np.random.default_rng(seed)
    # breaks ties at random: Grad-CAM without its negative part has many zeros
    noise = rng.permuted(np.tile(np.arange(height * width), (count, 1)), axis=1)
    flat = saliency.reshape(count, -1)
    order = np.stack([np.lexsort((n, -s)) for n, s in zip(noise, flat, strict=True)])
    images = images.astype("float32")
    mean = np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    sigma = (0, BLUR * height, BLUR * width, 0)
    blurred = gaussian_filter(images, sigma)

    def curves(order: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        return _curves(predict, start, end, order, classes)

    return Faithfulness(
        deletion=curves(order, images, mean),
        insertion=curves(order, blurred, images),
        random_deletion=curves(noise, images, mean),
        random_insertion=curves(noise, blurred, images),
    )


def _curves(
    predict: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    end: np.ndarray,
    order: np.ndarray,
    classes: np.ndarray,
) -> np.ndarray:
    """Probabilities of the classes while the pixels of `start` become those of `end`, in order."""
    count, pixels = order.shape
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(pixels)[None], axis=1)
    rank = rank.reshape(*start.shape[:3], 1)
    replaced = np.round(pixels * np.linspace(0, 1, STEPS + 1)).astype(int)  # after each step
    replaced = replaced.reshape(-1, 1, 1, 1, 1)
    chunk = max(1, images_per_batch(start.shape[1:], LARGEST_BATCH) // len(replaced))
    found = []
    for first in range(0, count, chunk):
        part = slice(first, first + chunk)
        mixed = np.where(rank[part] < replaced, end[part], start[part])  # (steps, images, ...)
        probabilities = predict(mixed.reshape(-1, *mixed.shape[2:]))
        by_step = probabilities.reshape(*mixed.shape[:2], -1)
        found.append(np.take_along_axis(by_step, classes[part][None, :, None], axis=2)[..., 0].T)
    return np.concatenate(found)
