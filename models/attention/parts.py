"""What several attention layers are made of: layouts, normalization, widths."""

from keras import layers, ops

from .hooks import announce


def to_channels_last(x, data_format):
    """The map with its channels last, where the convolutions inside the layers work."""
    return ops.transpose(x, (0, 2, 3, 1)) if data_format == "channels_first" else x


def from_channels_last(x, data_format):
    """A map of `to_channels_last`, back in the format of the layer's input."""
    return ops.transpose(x, (0, 3, 1, 2)) if data_format == "channels_first" else x


def per_channel(values, channels, data_format):
    """A value for each of the channels as a map of one position, in the input's format."""
    return from_channels_last(ops.reshape(values, (-1, 1, 1, channels)), data_format)


def batch_norm(channels, name, dtype, gamma_initializer="ones"):
    """A built batch normalization of channels-last maps.

    Args:
        channels: int.
        name: string, the layer's name.
        dtype: of the layer it belongs to.
        gamma_initializer: initial scale. Defaults to `"ones"`.

    Returns:
        A layer with PyTorch's defaults, momentum 0.9 (theirs is written 0.1) and epsilon 1e-5.
    """
    layer = layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, gamma_initializer=gamma_initializer, name=name, dtype=dtype
    )
    layer.build((None, None, None, channels))
    return announce(layer)


def largest_divisor(number, most):
    """Returns the largest divisor of `number` that is at most `most`, at least 1."""
    return next((n for n in range(min(number, most), 1, -1) if number % n == 0), 1)
