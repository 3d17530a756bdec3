"""Layers that all architectures share: convolution, normalization, activation, and stems."""

import keras
from keras import layers


def channel_axis():
    """Returns the axis of the channels under Keras's `image_data_format`: -1 or 1."""
    return 1 if keras.config.image_data_format() == "channels_first" else -1


def image_shape(size):
    """Returns the shape of a square color image under Keras's `image_data_format`."""
    return (3, size, size) if channel_axis() == 1 else (size, size, 3)


def conv(
    x, filters, kernel_size, strides=1, name=None, groups=1, use_bias=False, padding="symmetric"
):
    """A convolution.

    Args:
        x: Keras tensor of rank 4.
        filters: int, output channels.
        kernel_size: int, or a pair of ints if `strides` is 1 or `padding` is not `"symmetric"`.
        strides: int. Defaults to 1.
        name: string, the layer's name.
        groups: int, a divisor of the channels and of `filters`. Defaults to 1.
        use_bias: bool, whether the convolution has a bias. Defaults to `False`, as a normalization
            follows nearly everywhere.
        padding: `"symmetric"`, with the same number of zeros on all sides, as in PyTorch and most
            authors' code, or Keras's `"same"` or `"valid"`. With strides above 1, `"same"` pads
            maps of even size more on the right and bottom. Defaults to `"symmetric"`.

    Returns:
        A Keras tensor of rank 4.
    """
    if padding == "symmetric":
        padding = "same"
        if strides > 1:
            padding = "valid"
            x = symmetric_zeros(x, kernel_size // 2, f"{name}_pad")
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        groups=groups,
        use_bias=use_bias,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def symmetric_zeros(x, size, name):
    """Pads the map with `size` zeros on all sides."""
    return layers.ZeroPadding2D(size, name=name)(x) if size else x


def norm(x, name=None, epsilon=1e-5, scale=True):
    """Batch normalization with PyTorch's momentum; Keras's 0.99 is too slow for short trainings."""
    return layers.BatchNormalization(
        axis=channel_axis(), momentum=0.9, epsilon=epsilon, scale=scale, name=name
    )(x)


def activate(x, name=None, activation="relu"):
    """An activation as a layer of its own."""
    return layers.Activation(activation, name=name)(x)


def conv_norm(
    x,
    filters,
    kernel_size,
    strides=1,
    name="",
    number="",
    activation="relu",
    epsilon=1e-5,
    scale=True,
    **options,
):
    """Convolution, normalization and activation.

    Args:
        x: Keras tensor of rank 4.
        filters: int, output channels.
        kernel_size: int, or a pair of ints, as in `conv`.
        strides: int. Defaults to 1.
        name: string, prefix of the layers' names: `{name}_conv{number}`, `{name}_norm{number}` and
            `{name}_{activation}{number}`.
        number: int or string, suffix of the layers' names.
        activation: string, name of an activation, or `None`. Defaults to `"relu"`.
        epsilon: float, epsilon of the normalization. Defaults to 1e-5.
        scale: bool, whether the normalization has a gamma. Defaults to `True`.
        **options: options of `conv`: `groups`, `use_bias`, `padding`.

    Returns:
        A Keras tensor of rank 4.
    """
    x = conv(x, filters, kernel_size, strides, f"{name}_conv{number}", **options)
    x = norm(x, f"{name}_norm{number}", epsilon, scale)
    return activate(x, f"{name}_{activation}{number}", activation) if activation else x


def norm_relu(x, name, number="", epsilon=1e-5):
    """Normalization and ReLU, which precede a convolution in pre-activation networks."""
    return activate(norm(x, f"{name}_norm{number}", epsilon), f"{name}_relu{number}")


def cifar_stem(x, filters, **options):
    """A 3x3 convolution, which keeps the size of small images."""
    return conv_norm(x, filters, 3, name="stem", **options)


def imagenet_stem(x, filters, **options):
    """A 7x7 convolution and a max pooling, which leave a quarter of height and width."""
    return _stem_pool(conv_norm(x, filters, 7, strides=2, name="stem", **options))


def deep_stem(x, filters, widths=(32, 32), **options):
    """An `imagenet_stem` with 3x3 convolutions in the place of the one of 7x7.

    Args:
        x: Keras tensor of rank 4.
        filters: int, channels of the last convolution.
        widths: ints, channels of the convolutions before it. Defaults to `(32, 32)`.
        **options: options of `conv_norm`.

    Returns:
        A Keras tensor of rank 4.
    """
    for number, channels in enumerate((*widths, filters), start=1):
        strides = 2 if number == 1 else 1
        x = conv_norm(x, channels, 3, strides, name="stem", number=number, **options)
    return _stem_pool(x)


def _stem_pool(x):
    x = symmetric_zeros(x, 1, "stem_pool_pad")  # zero is the minimum after ReLU
    return layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


# name -> (its function, side of the images that it is made for)
STEMS = {"cifar": (cifar_stem, 32), "imagenet": (imagenet_stem, 224)}
