"""The map that attention is given: stored, or normalized from one that is stored.

Both kinds have the same methods; those that compute are called while XLA compiles. A batch
normalization before attention makes a pass over the map to write the normalized values
v = (x - mean) gamma / deviation + beta. They need not be written: attention computes them from x
wherever it needs them. Forward, the moments are computed from sums over each image, which also give
the averages that the channel gate asks for. Backward, with v' the gradient of v and n the number of
positions in all images,

    beta'  = sum of v'
    gamma' = sum of v' (x - mean) / deviation
    x'     = gamma / deviation (v' - (beta' + gamma' (x - mean) / deviation) / n)

and both sums follow from sums over each image that the gradient of the channel gate needs anyway.

A map in bfloat16 is computed with in float32: each value is converted where it is read, and the
results where they are written.
"""

import typing

import tensorflow as tf

from .reductions import float32, over_positions, pools


class Stored(typing.NamedTuple):
    """A feature map as it is.

    Attributes:
        x: float32 or bfloat16 tensor `(batch, height, width, channels)`, of known shape but for the
            batch.
    """

    x: typing.Any

    def inputs(self):
        """Returns the tensors that the map is computed from, in the order of `gradients`."""
        return [self.x]

    def values(self, x):
        """Returns the map's values, in float32, where `x` is stored."""
        return float32(x)

    def sort_key(self, x):
        """Returns a function of `x` that is greatest where the map's values are greatest."""
        return float32(x)

    def pool(self, kinds):
        """Returns pools over positions, `(batch, pools, channels)`; a maximum is of `sort_key`."""
        return tf.stack(pools(kinds, [self.values(self.x) for _ in kinds]), axis=1)

    def pooled_values(self, kinds, pooled):
        """Returns the pools of the map's values, from those that `pool` returns."""
        return pooled

    def sums(self, gradient, *others):
        """Returns the sums over positions that `gate_gradient` and `gradients` are made of.

        Args:
            gradient: elementwise function of `x` and the others, all in float32, that returns the
                gradient of the map times its gate.
            *others: tensors `(batch, height, width, channels)`, where every size may be 1.
        """
        return (over_positions("sum", lambda x, *o: gradient(x, *o) * x, self.x, *others),)

    def gate_gradient(self, sums):
        """Returns the gradient `(batch, channels)` of a gate for each channel."""
        return sums[0]

    def gradients(self, dvalues, gate, sums, kinds, pooled, dpooled):
        """Returns the gradients of `inputs`, from those of the map's values.

        Args:
            dvalues: float32 tensor `(batch, height, width, channels)`.
            gate: tensor `(batch, 1, 1, channels)`.
            sums: what the method of this name returned.
            kinds: tuple of `"avg"` and `"max"`.
            pooled: what `pool` returned.
            dpooled: tensor of its shape, the gradients of the pools of the values.
        """
        return [tf.cast(dvalues, self.x.dtype)]


class Normalized(typing.NamedTuple):
    """A feature map that a batch normalization gives.

    Attributes:
        x: float32 or bfloat16 tensor `(batch, height, width, channels)`, the map before the
            normalization, of known shape but for the batch.
        gamma, beta: tensors `(channels,)`.
        mean, inverse: tensors `(channels,)`, the mean of the batch and the inverse of its standard
            deviation.
        scale, offset: tensors `(channels,)`; the normalized map is `x * scale + offset`.
        averages: tensor `(batch, channels)`, of `x - mean` over each image's positions.
    """

    x: typing.Any
    gamma: typing.Any
    beta: typing.Any
    mean: typing.Any
    inverse: typing.Any
    scale: typing.Any
    offset: typing.Any
    averages: typing.Any

    def inputs(self):
        return [self.x, self.gamma, self.beta]

    def values(self, x):
        return float32(x) * self.scale + self.offset

    def sort_key(self, x):
        # not the values: computed again elsewhere, they may be rounded differently, and a maximum
        # would not be found. Where the scale is zero, all values are equal, and all keys too
        return float32(x) * tf.sign(self.scale)

    def pool(self, kinds):
        highest = over_positions("max", self.sort_key, self.x)
        return tf.stack([highest if k == "max" else self.averages for k in kinds], axis=1)

    def _pooled_differences(self, kinds, pooled):
        """The pools of `x - mean`, each `(batch, channels)`."""
        sign = tf.sign(self.scale)
        return [
            tf.where(sign == 0, self.averages, sign * p - self.mean) if kind == "max" else p
            for kind, p in zip(kinds, tf.unstack(pooled, axis=1), strict=True)
        ]

    def pooled_values(self, kinds, pooled):
        differences = tf.stack(self._pooled_differences(kinds, pooled), axis=1)
        return differences * self.scale + self.beta

    def sums(self, gradient, *others):
        return tuple(
            over_positions("sum", function, self.x, *others)
            for function in (gradient, lambda x, *others: gradient(x, *others) * (x - self.mean))
        )

    def gate_gradient(self, sums):
        total, centered = sums
        return self.beta * total + self.scale * centered

    def gradients(self, dvalues, gate, sums, kinds, pooled, dpooled):
        total, centered = (gate[:, 0, 0] * a for a in sums)
        differences = self._pooled_differences(kinds, pooled)
        for gradient, difference in zip(tf.unstack(dpooled, axis=1), differences, strict=True):
            total += gradient
            centered += gradient * difference
        return self.input_gradients(dvalues, total, centered)

    def input_gradients(self, dvalues, total, centered):
        """Returns the gradients of `inputs`, from those of the map's values.

        Args:
            dvalues: float32 tensor `(batch, height, width, channels)`.
            total: tensor `(batch, channels)`, the sums of `dvalues` over positions.
            centered: tensor of its shape, the sums of `dvalues * (x - mean)`.
        """
        dbeta = tf.reduce_sum(total, axis=0)
        dgamma = self.inverse * tf.reduce_sum(centered, axis=0)
        count = tf.cast(tf.size(self.x) // self.x.shape[3], tf.float32)
        centered = float32(self.x) - self.mean
        through_moments = (dbeta + self.inverse * dgamma * centered) / count
        dx = self.scale * (dvalues - through_moments)
        return [tf.cast(dx, self.x.dtype), dgamma, dbeta]


def normalize(x, gamma, beta, epsilon):
    """Returns a `Normalized`, and the mean and the variance of the batch.

    Args:
        x: float32 or bfloat16 tensor `(batch, height, width, channels)`, of known shape but for the
            batch.
        gamma, beta: float32 tensors or variables `(channels,)`.
        epsilon: float, added to the variance.
    """
    gamma, beta = map(tf.convert_to_tensor, (gamma, beta))
    made, variance = _moments(x, gamma, beta, epsilon)
    return Normalized(x, gamma, beta, *made), (made[0], variance)


@tf.function(jit_compile=True)
def _moments(x, gamma, beta, epsilon):
    x = float32(x)
    # squares of values far from zero would lose digits; the mean of one image is near that of all
    near = tf.reduce_mean(x[0], axis=(0, 1))
    averages, squares = pools(("avg", "avg"), [x - near, (x - near) ** 2])
    shift, square = (tf.reduce_mean(a, axis=0) for a in (averages, squares))
    mean, variance = near + shift, tf.maximum(square - shift**2, 0.0)
    inverse = tf.math.rsqrt(variance + epsilon)
    scale = gamma * inverse
    return (mean, inverse, scale, beta - mean * scale, averages - shift), variance
