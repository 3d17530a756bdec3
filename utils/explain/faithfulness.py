"""Whether a network's decision hangs on what an explanation points at, as a number."""

import dataclasses
import math

import numpy as np
from scipy.integrate import trapezoid
from scipy.ndimage import gaussian_filter

STEPS = 32  # parts in which the pixels come or go
BLUR = 1 / 8  # standard deviation, of the image's side: no object is left
BATCH_SIZE = 512


@dataclasses.dataclass(frozen=True)
class Faithfulness:
    """How the predicted class's probability moves as pixels go (deletion) and come (insertion).

    Args:
        deletion, insertion: float arrays `(n, STEPS + 1)`, the probability at each share of pixels,
            from none to all, in the explanation's order.
        random_deletion, random_insertion: the same in a random order.
    """

    deletion: np.ndarray
    insertion: np.ndarray
    random_deletion: np.ndarray
    random_insertion: np.ndarray

    def gain(self, kind):
        """How much better than at random the explanation's order is.

        Args:
            kind: `"deletion"`, where the smaller area under the curve is the better one, or
                `"insertion"`, where the larger is.

        Returns:
            Two floats: the mean over the images of the difference between the areas, positive
            where the explanation is better than chance; and its standard error.
        """
        ordered, random = area(getattr(self, kind)), area(getattr(self, f"random_{kind}"))
        differences = random - ordered if kind == "deletion" else ordered - random
        error = differences.std(ddof=1) / math.sqrt(len(differences)) if len(differences) > 1 else 0
        return float(differences.mean()), float(error)


def area(curves):
    """Area under each curve over shares from 0 to 1, by trapezoids: `(n, steps)` to `(n,)`."""
    return trapezoid(curves, dx=1 / (curves.shape[1] - 1), axis=1)


def faithfulness(predict, images, saliency, classes, seed=0):
    """Measures explanations by deletion and insertion of pixels.

    Deletion takes pixels from the image, the most salient first, and leaves the image's mean
    color; insertion puts them, in the same order, into a blurred image. The more the network's
    decision hangs on what the explanation marks, the sooner the probability falls or rises.
    Networks differ in how sure they are of anything; so each order is compared with a random one
    on the same network.

    Args:
        predict: function from images to an array of class probabilities.
        images: uint8 array `(n, height, width, channels)`.
        saliency: float array `(n, height, width)`.
        classes: int array `(n,)`, the class of each image whose probability is followed.
        seed: int, of the random order.

    Returns:
        A `Faithfulness`.

    Reference:

    - Deletion and insertion: [RISE](https://arxiv.org/abs/1806.07421), section 4.3
    """
    count, height, width, _ = images.shape
    rng = np.random.default_rng(seed)
    # equal values, of which a rectified explanation has many, in a random order too
    noise = rng.permuted(np.tile(np.arange(height * width), (count, 1)), axis=1)
    flat = saliency.reshape(count, -1)
    order = np.stack([np.lexsort((n, -s)) for n, s in zip(noise, flat, strict=True)])
    images = images.astype("float32")
    mean = np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    sigma = (0, BLUR * height, BLUR * width, 0)
    blurred = gaussian_filter(images, sigma)

    def curves(order, start, end):
        return _curves(predict, start, end, order, classes)

    return Faithfulness(
        deletion=curves(order, images, mean),
        insertion=curves(order, blurred, images),
        random_deletion=curves(noise, images, mean),
        random_insertion=curves(noise, blurred, images),
    )


def _curves(predict, start, end, order, classes):
    """Probabilities of the classes as the pixels of `start` become those of `end`, in an order."""
    count, pixels = order.shape
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(pixels)[None], axis=1)
    rank = rank.reshape(*start.shape[:3], 1)
    goals = np.round(pixels * np.linspace(0, 1, STEPS + 1)).astype(int).reshape(-1, 1, 1, 1, 1)
    chunk = max(1, BATCH_SIZE // len(goals))
    found = []
    for first in range(0, count, chunk):
        part = slice(first, first + chunk)
        mixed = np.where(rank[part] < goals, end[part], start[part])  # (steps, images, ...)
        probabilities = predict(mixed.reshape(-1, *mixed.shape[2:]))
        by_step = probabilities.reshape(*mixed.shape[:2], -1)
        found.append(np.take_along_axis(by_step, classes[part][None, :, None], axis=2)[..., 0].T)
    return np.concatenate(found)
