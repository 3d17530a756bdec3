"""Random crop, RandAugment, MixUp and CutMix of images on the host, with draws given from outside.

Keras has layers for these, but their draws come from a state that counts calls, and they need a
backend in every process that decodes. Here whoever calls hands over the generator, so that a sample
depends on nothing else.
"""

import math

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

RATIOS = (3 / 4, 4 / 3)  # of a crop's width to its height
ATTEMPTS = 10
LEVELS = 10  # of RandAugment's magnitude, of which the papers count 10
GRAY = (128, 128, 128)  # what comes in from outside


def random_window(rng, width, height, least):
    """Draws the part of an image that a random resized crop keeps.

    Args:
        rng: a `numpy.random.Generator`.
        width, height: ints, of the image in pixels.
        least: float in (0, 1], the smallest share of the image's area.

    Returns:
        Left, upper, right and lower border in pixels, a list of floats.

    Reference:

    - [Going Deeper with Convolutions](https://arxiv.org/abs/1409.4842), section 6
    """
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(least, 1)
        ratio = math.exp(rng.uniform(*map(math.log, RATIOS)))
        across, down = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if across <= width and down <= height:
            break
    else:  # a very wide or very high image: as much as fits, in the middle
        across = min(width, height * RATIOS[1])
        down = min(height, width / RATIOS[0])
        left, upper = (width - across) / 2, (height - down) / 2
        return [left, upper, left + across, upper + down]
    left, upper = rng.uniform(0, width - across), rng.uniform(0, height - down)
    return [left, upper, left + across, upper + down]


def _affine(*matrix):
    def move(image, amount):
        x, y = image.width / 2, image.height / 2
        a, b, c, d, e, f = (value(amount) if callable(value) else value for value in matrix)
        # about the middle; shifts are shares of the side
        shift = (a * -x + b * -y + x + c * image.width, d * -x + e * -y + y + f * image.height)
        coefficients = (a, b, shift[0], d, e, shift[1])
        kind = Image.Transform.AFFINE
        return image.transform(image.size, kind, coefficients, Image.Resampling.BILINEAR,
                               fillcolor=GRAY)  # fmt: skip

    return move


def _enhance(kind):
    return lambda image, amount: kind(image).enhance(1 + amount)


# name -> (function of image and amount, largest amount, whether a random half is mirrored)
OPERATIONS = {
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


def rand_augment(rng, pixels, magnitude, operations=2):
    """Applies random operations of one magnitude, each drawn from all of `OPERATIONS`.

    Args:
        rng: a `numpy.random.Generator`.
        pixels: uint8 array `(height, width, 3)`.
        magnitude: int from 0 to `LEVELS`.
        operations: int, how many, one after the other. Defaults to 2.

    Returns:
        A uint8 array of the same shape.

    Reference:

    - [RandAugment](https://arxiv.org/abs/1909.13719), section 3
    """
    image = Image.fromarray(pixels)
    for name in rng.choice(list(OPERATIONS), operations):
        function, largest, mirrored = OPERATIONS[name]
        sign = -1 if rng.random() < 0.5 and mirrored else 1
        image = function(image, sign * largest * magnitude / LEVELS)
    return np.asarray(image)


def mix_images(rngs, images, labels, classes, mixup=0.0, cutmix=0.0):
    """Mixes every image of a batch with the one before it, the first with the last.

    Args:
        rngs: sequence of `numpy.random.Generator`s, one for each image.
        images: uint8 array `(batch, height, width, channels)`.
        labels: int array `(batch,)`.
        classes: int.
        mixup, cutmix: floats, the parameter of the Beta distribution of the shares; 0 for never.
            With both, a random half of the images is mixed in each way.

    Returns:
        A uint8 array of images, and a float32 array `(batch, classes)` of the classes' shares.

    References:

    - [mixup](https://arxiv.org/abs/1710.09412), section 2
    - [CutMix](https://arxiv.org/abs/1905.04899), section 3.1
    """
    result = np.empty_like(images)
    shares = np.empty(len(images), "float32")
    for number, rng in enumerate(rngs):
        own, other = images[number], images[number - 1]
        by_cut = cutmix and (not mixup or rng.random() < 0.5)
        share = rng.beta(*[cutmix or 1] * 2) if by_cut else rng.beta(*[mixup] * 2)
        mix = _cut if by_cut else _blend
        result[number], shares[number] = mix(rng, own, other, share)
    own = np.eye(classes, dtype="float32")[labels]
    shares = shares[:, None]
    return result, shares * own + (1 - shares) * np.roll(own, 1, axis=0)


def _blend(rng, own, other, share):
    return np.rint(share * own.astype("float32") + (1 - share) * other), share


def _cut(rng, own, other, share):
    """A rectangle of the other image, of `1 - share` of the area where it lies within."""
    height, width = own.shape[:2]
    side = math.sqrt(1 - share) / 2
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    top, bottom = (int(np.clip(y + s * side * height, 0, height)) for s in (-1, 1))
    left, right = (int(np.clip(x + s * side * width, 0, width)) for s in (-1, 1))
    result = own.copy()
    result[top:bottom, left:right] = other[top:bottom, left:right]
    return result, 1 - (bottom - top) * (right - left) / (height * width)
