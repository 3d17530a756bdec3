"""What all architectures share: convolution, normalization, rectifier, and their usual stems."""

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
        kernel_size: int, or a pair of ints (with strides 1, or padding of Keras's).
        strides: int.
        name: string, the layer's name.
        groups: int, divides channels and filters.
        use_bias: bool. Defaults to `False`, as a normalization follows nearly everywhere.
        padding: `"symmetric"` (default), the map's size, divided by `strides`, with as many zeros
            on either side, as in the authors' code and PyTorch; or Keras's `"same"`, which with
            strides pads by the size of the map, or `"valid"`.

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
    """Zeros around the map, `size` pixels wide; nothing for 0."""
    return layers.ZeroPadding2D(size, name=name)(x) if size else x


def norm(x, name=None, epsilon=1e-5, scale=True):
    """Batch normalization with PyTorch's momentum: short trainings need the faster average."""
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
    """Convolution, normalization and activation, the most common triple.

    Args:
        x: Keras tensor of rank 4.
        filters: int, output channels.
        kernel_size: int, or a pair of ints.
        strides: int.
        name: string, prefix of the layers' names: `{name}_conv{number}` and so on.
        number: int or string, suffix of the layers' names.
        activation: name of an activation, or `None` for none.
        epsilon: float, of the normalization.
        scale: bool, whether the normalization has a gamma.
        **options: of the convolution: `groups`, `use_bias`, `padding`.

    Returns:
        A Keras tensor of rank 4.
    """
    x = conv(x, filters, kernel_size, strides, f"{name}_conv{number}", **options)
    x = norm(x, f"{name}_norm{number}", epsilon, scale)
    return activate(x, f"{name}_{activation}{number}", activation) if activation else x


def norm_relu(x, name, number="", epsilon=1e-5):
    """Normalization and rectifier, what comes before a convolution in pre-activation networks."""
    return activate(norm(x, f"{name}_norm{number}", epsilon), f"{name}_relu{number}")


def cifar_stem(x, filters, **options):
    """A 3x3 convolution: small images keep their size."""
    return conv_norm(x, filters, 3, name="stem", **options)


def imagenet_stem(x, filters, **options):
    """A 7x7 convolution and a max-pooling: a quarter of the size."""
    x = conv_norm(x, filters, 7, strides=2, name="stem", **options)
    x = symmetric_zeros(x, 1, "stem_pool_pad")  # after the rectifier, zero is the least
    return layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


# name -> (the function, side of the images it is made for)
STEMS = {"cifar": (cifar_stem, 32), "imagenet": (imagenet_stem, 224)}
