"""Random crop, RandAugment, MixUp and CutMix of images on the host.

Keras has layers for these. Their random state counts calls, though, and they need a backend in
every process that decodes images. Here the caller passes the random generator, so that an augmented
sample depends on nothing else.

Worker processes import this file: no Keras here.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

RATIOS = (3 / 4, 4 / 3)  # smallest and largest width of a crop, as a multiple of its height
ATTEMPTS = 10  # to draw a crop that fits into the image
LEVELS = 10  # RandAugment's largest magnitude, as in its paper
GRAY = (128, 128, 128)  # the color outside a rotated or moved image

Operation = Callable[[Image.Image, float], Image.Image]


def random_window(rng: np.random.Generator, width: int, height: int, least: float) -> list[float]:
    """Draws the part of an image that a random resized crop keeps.

    Args:
        rng: a `numpy.random.Generator`.
        width, height: ints, size of the image in pixels.
        least: float in (0, 1], the smallest share of the image's area to keep.

    Returns:
        A list of floats: left, upper, right and lower border in pixels.

    Reference:

    - [Going Deeper with Convolutions](https://arxiv.org/abs/1409.4842), section 6
    """
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(least, 1)
        ratio = math.exp(rng.uniform(math.log(RATIOS[0]), math.log(RATIOS[1])))
        across, down = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if across <= width and down <= height:
            break
    else:  # a very wide or very tall image: the largest crop that fits, in the middle
        across = min(width, height * RATIOS[1])
        down = min(height, width / RATIOS[0])
        left, upper = (width - across) / 2, (height - down) / 2
        return [left, upper, left + across, upper + down]
    left, upper = rng.uniform(0, width - across), rng.uniform(0, height - down)
    return [left, upper, left + across, upper + down]


def _affine(*matrix: float | Callable[[float], float]) -> Operation:
    """Makes an operation of an affine matrix; functions in it are called with the amount."""

    def move(image: Image.Image, amount: float) -> Image.Image:
        x, y = image.width / 2, image.height / 2
        a, b, c, d, e, f = (value(amount) if callable(value) else value for value in matrix)
        # the center stays; shifts are fractions of the width and height
        shift = (a * -x + b * -y + x + c * image.width, d * -x + e * -y + y + f * image.height)
        coefficients = (a, b, shift[0], d, e, shift[1])
        kind = Image.Transform.AFFINE
        return image.transform(image.size, kind, coefficients, Image.Resampling.BILINEAR,
                               fillcolor=GRAY)  # fmt: skip

    return move


def _enhance(kind: Any) -> Operation:
    return lambda image, amount: kind(image).enhance(1 + amount)


# name -> (operation, its amount at the largest magnitude, whether the sign of the amount is random)
OPERATIONS: dict[str, tuple[Operation, float, bool]] = {
    "identity": (lambda image, _: image, 0, False),
    "auto_contrast": (lambda image, _: ImageOps.autocontrast(image), 0, False),
    "equalize": (lambda image, _: ImageOps.equalize(image), 0, False),
    "rotate": (
        lambda image, degrees: image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=GRAY),
        30,
        True,
    ),
    "solarize": (lambda image, amount: ImageOps.solarize(image, round(256 - amount)), 256, False),
    "posterize": (lambda image, bits: ImageOps.posterize(image, 8 - round(bits)), 4, False),
    "color": (_enhance(ImageEnhance.Color), 0.9, True),
    "contrast": (_enhance(ImageEnhance.Contrast), 0.9, True),
    "brightness": (_enhance(ImageEnhance.Brightness), 0.9, True),
    "sharpness": (_enhance(ImageEnhance.Sharpness), 0.9, True),
    "shear_x": (_affine(1, lambda v: v, 0, 0, 1, 0), 0.3, True),
    "shear_y": (_affine(1, 0, 0, lambda v: v, 1, 0), 0.3, True),
    "translate_x": (_affine(1, 0, lambda v: v, 0, 1, 0), 0.45, True),
    "translate_y": (_affine(1, 0, 0, 0, 1, lambda v: v), 0.45, True),
}


def rand_augment(
    rng: np.random.Generator, pixels: np.ndarray, magnitude: int, operations: int = 2
) -> np.ndarray:
    """Applies random operations, each drawn from all of `OPERATIONS`.

    Args:
        rng: a `numpy.random.Generator`.
        pixels: uint8 array `(height, width, 3)`.
        magnitude: int from 0 to 10, the strength of every operation.
        operations: int, how many to apply, one after the other. Defaults to 2.

    Returns:
        A uint8 array of the same shape.

    Reference:

    - [RandAugment](https://arxiv.org/abs/1909.13719), section 3
    """
    image = Image.fromarray(pixels)
    for name in rng.choice(list(OPERATIONS), operations):
        function, largest, signed = OPERATIONS[name]
        sign = -1 if rng.random() < 0.5 and signed else 1
        image = function(image, sign * largest * magnitude / LEVELS)
    return np.asarray(image)


def mix_images(
    rngs: Sequence[np.random.Generator],
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    mixup: float = 0.0,
    cutmix: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Mixes every image of a batch with the one before it, the first with the last.

    Args:
        rngs: sequence of `numpy.random.Generator`s, one for each image.
        images: uint8 array `(batch, height, width, channels)`.
        labels: int array `(batch,)`.
        classes: int, the number of classes.
        mixup, cutmix: floats, parameters of the Beta distributions from which the weight of an
            image in its mixture is drawn. Default to 0, not used. With both, each is used for a
            random half of the images.

    Returns:
        A uint8 array of images, and their soft labels, a float32 array `(batch, classes)`.

    References:

    - [mixup](https://arxiv.org/abs/1710.09412), section 2
    - [CutMix](https://arxiv.org/abs/1905.04899), section 3.1
    """
    result = np.empty_like(images)
    weights = np.empty(len(images), "float32")
    for number, rng in enumerate(rngs):
        own, other = images[number], images[number - 1]
        by_cut = cutmix and (not mixup or rng.random() < 0.5)
        parameter = cutmix if by_cut else mixup
        weight = rng.beta(parameter, parameter)
        mix = _cut if by_cut else _blend
        result[number], weights[number] = mix(rng, own, other, weight)
    one_hot = np.eye(classes, dtype="float32")[labels]
    weights = weights[:, None]
    return result, weights * one_hot + (1 - weights) * np.roll(one_hot, 1, axis=0)


def _blend(
    rng: np.random.Generator, own: np.ndarray, other: np.ndarray, weight: float
) -> tuple[np.ndarray, float]:
    return np.rint(weight * own.astype("float32") + (1 - weight) * other), weight


def _cut(
    rng: np.random.Generator, own: np.ndarray, other: np.ndarray, weight: float
) -> tuple[np.ndarray, float]:
    """Pastes a rectangle of the other image, `1 - weight` of the area less what lies outside.

    Returns the image, and the share of its own pixels that are left.
    """
    height, width = own.shape[:2]
    side = math.sqrt(1 - weight) / 2
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    top, bottom = (int(np.clip(y + s * side * height, 0, height)) for s in (-1, 1))
    left, right = (int(np.clip(x + s * side * width, 0, width)) for s in (-1, 1))
    result = own.copy()
    result[top:bottom, left:right] = other[top:bottom, left:right]
    return result, 1 - (bottom - top) * (right - left) / (height * width)
