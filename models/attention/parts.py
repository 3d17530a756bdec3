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


class SingleFilterConv2D(layers.Conv2D):
    """A `Conv2D` of one filter that trains in every dtype on PyTorch's CPU.

    PyTorch takes such a kernel, transposed from Keras's order, for one in the order channels last,
    and its convolution in other dtypes than float32 refuses to return a gradient in that order.
    """

    def convolution_op(self, inputs, kernel):
        if self.compute_dtype != "float32":
            kernel = ops.transpose(kernel, (3, 2, 0, 1))
            shape = kernel.shape
            # flat and back: the values lie in PyTorch's own order in memory
            kernel = ops.reshape(ops.reshape(kernel, (-1,)), shape)
            kernel = ops.transpose(kernel, (2, 3, 1, 0))
        return super().convolution_op(inputs, kernel)


def largest_divisor(number, most):
    """Returns the largest divisor of `number` that is at most `most`, at least 1."""
    return next((n for n in range(min(number, most), 1, -1) if number % n == 0), 1)
