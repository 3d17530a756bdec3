"""Fast forms of Keras's own layers, given to them by `speed_up`."""

import functools

import numpy as np
from keras import backend, ops

from . import conditions

JOINED_CHANNELS = 32  # of a dense convolution that several groups share
# attributes of a tensor: the function of `open_to_joining`, and the result of `source_of`
JOINT = "_joined_with"
SOURCE = "_normalised_from"


def open_to_joining(outputs, join):
    """Marks a tensor that the layers after it may compute in one pass with what they do to it.

    Where they all do, the tensor itself is used by nobody, and TensorFlow leaves it out of the
    graph.

    Args:
        outputs: a tensor in a graph.
        join: function of tensors that are added to `outputs`, and of `rectified`, whether a
            rectifier follows, that returns what comes of it.

    Returns:
        `outputs`.
    """
    setattr(outputs, JOINT, join)
    return outputs


def source_of(inputs):
    """Returns a tensor as a map of `maps.py`: what it is normalized from, or as it is."""
    from .maps import Stored

    return getattr(inputs, SOURCE, None) or Stored(inputs)


class JoinedAddition:
    """The addition of two maps, one of which may be computed together with its sum."""

    def __init__(self, layer):
        self.layer = layer

    def __call__(self, inputs):
        for outputs, *shortcuts in (inputs, inputs[::-1]):
            join = getattr(outputs, JOINT, None)
            if join and len(shortcuts) == 1 and _are_alike(outputs, *shortcuts):
                join = functools.partial(join, *shortcuts)
                return open_to_joining(join(), join)
        return type(self.layer).call(self.layer, inputs)


def _are_alike(first, second):
    return (first.shape, first.dtype) == (second.shape, second.dtype)


class JoinedRectifier:
    """A rectifier, which may be computed together with what comes before it."""

    def __init__(self, layer):
        self.layer = layer

    def __call__(self, inputs):
        join = getattr(inputs, JOINT, None)
        if join is not None:
            return join(rectified=True)
        return type(self.layer).call(self.layer, inputs)


class FusedBatchNormalization:
    """Batch normalization in TensorFlow's fused kernel.

    Keras composes it from moments and arithmetic, each a pass over the map of its own. The kernel's
    variance is the unbiased one, n / (n - 1) times Keras's, which enters the moving average; that
    is undone.

    Attributes:
        only_attention_follows: bool. With `True`, attention computes the normalization in training
            with its own passes: the kernel's output is then used by nobody, and TensorFlow leaves
            it out of the graph. Defaults to `False`.
    """

    def __init__(self, layer):
        self.layer = layer
        self.only_attention_follows = False

    def __call__(self, inputs, training=None, mask=None):
        if not self._applies(inputs, mask):
            return type(self.layer).call(self.layer, inputs, training=training, mask=mask)
        layer = self.layer
        x = ops.cast(inputs, "float32")
        if training and layer.trainable:
            y, mean, variance = self._kernel(x, is_training=True)
            count = ops.cast(ops.size(x) // x.shape[-1], "float32")
            variance = variance * (ops.maximum(count - 1, 1) / count)
            if self.only_attention_follows and conditions.passes_join(inputs):
                from .maps import normalize

                gamma, beta = self._parameters()
                source, (mean, variance) = normalize(x, gamma, beta, layer.epsilon)
                setattr(y, SOURCE, source)
            move_averages(layer, mean, variance)
        else:
            mean, variance = map(ops.convert_to_tensor, (layer.moving_mean, layer.moving_variance))
            y, _, _ = self._kernel(x, is_training=False, mean=mean, variance=variance)
        return ops.cast(y, layer.compute_dtype)

    def _applies(self, inputs, mask):
        layer = self.layer
        return (
            len(inputs.shape) == 4
            and layer.axis in (-1, 3)
            and mask is None
            and not (layer.renorm or layer.synchronized)
            and backend.standardize_dtype(layer.variable_dtype) == "float32"
            and backend.standardize_dtype(inputs.dtype) != "float64"
        )

    def _kernel(self, x, **options):
        import tensorflow as tf

        epsilon = self.layer.epsilon
        return tf.compat.v1.nn.fused_batch_norm(x, *self._parameters(), epsilon=epsilon, **options)

    def _parameters(self):
        layer = self.layer
        channels = layer.moving_mean.shape
        gamma = ops.convert_to_tensor(layer.gamma) if layer.scale else ops.ones(channels)
        beta = ops.convert_to_tensor(layer.beta) if layer.center else ops.zeros(channels)
        return gamma, beta


def move_averages(norm, mean, variance):
    """Moves the averages of a batch normalization towards the moments of a batch, as Keras does."""
    for moving, new in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
        moving.assign(moving * norm.momentum + new * (1.0 - norm.momentum))


class GroupedConvolution:
    """A grouped convolution as several dense ones.

    On TensorFlow's CPU backend Keras has XLA compile the whole, and a training step takes tens to
    hundreds of times as long. Small groups share a convolution whose kernel is zero between them:
    a call costs more than the multiplications by zero.
    """

    def __init__(self, layer):
        self.layer = layer

    def __call__(self, inputs, kernel):
        layer = self.layer
        if layer.data_format != "channels_last":
            return type(layer).convolution_op(layer, inputs, kernel)
        joined = self._groups_per_convolution(kernel)
        parts = layer.groups // joined
        channels = zip(
            ops.split(inputs, parts, axis=-1), ops.split(kernel, parts, axis=-1), strict=True
        )
        maps = [
            ops.conv(
                x,
                _block_diagonal(part, joined),
                layer.strides,
                layer.padding,
                layer.data_format,
                layer.dilation_rate,
            )
            for x, part in channels
        ]
        return ops.concatenate(maps, axis=-1)

    def _groups_per_convolution(self, kernel):
        groups = self.layer.groups
        width = max(kernel.shape[-2], kernel.shape[-1] // groups)
        fitting = [n for n in range(1, groups + 1) if groups % n == 0]
        return max([n for n in fitting if n * width <= JOINED_CHANNELS], default=1)


def _block_diagonal(kernel, groups):
    """The kernel of `groups` groups as that of one dense convolution."""
    if groups == 1:
        return kernel
    inputs, outputs = kernel.shape[-2], kernel.shape[-1] // groups
    own = np.kron(np.eye(groups), np.ones((inputs, outputs)))
    return ops.tile(kernel, (1, 1, groups, 1)) * ops.cast(own, kernel.dtype)
