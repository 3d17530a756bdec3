"""What attention is given: a feature map that is stored, or one that a batch normalization gives.

Both have the same methods, of which those that compute are called while XLA compiles. A normalized
map v = (x - mean) gamma / deviation + beta is never stored: its values are computed from x wherever
they are needed, and the normalization's own passes become those of attention. Forward, the moments
are sums over each image first, which are also the averages that the channel gate asks for.
Backward, with v' the slope of v and n the number of positions of all images,

    beta'  = sum of v'
    gamma' = sum of v' (x - mean) / deviation
    x'     = gamma / deviation (v' - (beta' + gamma' (x - mean) / deviation) / n)

and both sums follow from sums over each image that the channel gate's own slope is made of.
"""

import typing

import tensorflow as tf

from .reductions import over_positions, pools


class Stored(typing.NamedTuple):
    """A feature map as it is.

    Attributes:
        x: float32 tensor `(batch, height, width, channels)`, all but the batch known.
    """

    x: typing.Any

    def inputs(self):
        """The tensors that the map is a function of, in the order of `slopes`."""
        return [self.x]

    def values(self, x):
        """The map's values where `x` is what is stored."""
        return x

    def in_order(self, x):
        """A function of `x` that is greatest over positions exactly where the map's values are."""
        return x

    def pool(self, kinds):
        """Returns `(batch, pools, channels)` over positions, a maximum as that of `in_order`."""
        return tf.stack(pools(kinds, [self.x for _ in kinds]), axis=1)

    def pooled_values(self, kinds, pooled):
        """The pools of the map's values, from those that `pool` returns."""
        return pooled

    def sums(self, slope, *others):
        """Sums over positions that `slope_of_gate` and `slopes` are made of.

        Args:
            slope: elementwise function of `x` and the others: the slope of the map times its gate.
            *others: tensors `(batch, height, width, channels)`, of which all may be 1.
        """
        return (over_positions("sum", lambda x, *o: slope(x, *o) * x, self.x, *others),)

    def slope_of_gate(self, sums):
        """The slope `(batch, channels)` of a gate for each channel."""
        return sums[0]

    def slopes(self, dvalues, gate, sums, kinds, pooled, dpooled):
        """The slopes of `inputs`, from those of the map's values.

        Args:
            dvalues: tensor `(batch, height, width, channels)`.
            gate: tensor `(batch, 1, 1, channels)`.
            sums: what the method of this name returned.
            kinds: tuple of `"avg"` and `"max"`.
            pooled: what `pool` returned.
            dpooled: tensor of its shape, the slopes of the pools of the values.
        """
        return [dvalues]


class Normalized(typing.NamedTuple):
    """A feature map that a batch normalization gives.

    Attributes:
        x: float32 tensor `(batch, height, width, channels)` that is normalized, all but the batch
            known.
        gamma, beta: tensors `(channels,)`.
        mean, inverse: tensors `(channels,)`: the batch's mean, and one by its deviation.
        scale, offset: tensors `(channels,)`: the map is `x * scale + offset`.
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
        return x * self.scale + self.offset

    def in_order(self, x):
        # the values themselves may be rounded differently where they are computed again; where the
        # scale is zero, all are equal here as there
        return x * tf.sign(self.scale)

    def pool(self, kinds):
        highest = over_positions("max", self.in_order, self.x)
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

    def sums(self, slope, *others):
        return tuple(
            over_positions("sum", function, self.x, *others)
            for function in (slope, lambda x, *others: slope(x, *others) * (x - self.mean))
        )

    def slope_of_gate(self, sums):
        total, centered = sums
        return self.beta * total + self.scale * centered

    def slopes(self, dvalues, gate, sums, kinds, pooled, dpooled):
        total, centered = (gate[:, 0, 0] * a for a in sums)
        differences = self._pooled_differences(kinds, pooled)
        for slope, difference in zip(tf.unstack(dpooled, axis=1), differences, strict=True):
            total += slope
            centered += slope * difference
        dbeta = tf.reduce_sum(total, axis=0)
        dgamma = self.inverse * tf.reduce_sum(centered, axis=0)
        count = tf.cast(tf.size(self.x) // self.x.shape[3], tf.float32)
        through_moments = (dbeta + self.inverse * dgamma * (self.x - self.mean)) / count
        return [self.scale * (dvalues - through_moments), dgamma, dbeta]


def normalize(x, gamma, beta, epsilon):
    """Returns a `Normalized`, and the mean and the variance of the batch.

    Args:
        x: float32 tensor `(batch, height, width, channels)`; all but the batch known.
        gamma, beta: tensors or variables `(channels,)`.
        epsilon: float, added to the variance.
    """
    gamma, beta = map(tf.convert_to_tensor, (gamma, beta))
    made, variance = _moments(x, gamma, beta, epsilon)
    return Normalized(x, gamma, beta, *made), (made[0], variance)


@tf.function(jit_compile=True)
def _moments(x, gamma, beta, epsilon):
    # squares of what is far from zero would lose digits; one image's mean is near that of all
    near = tf.reduce_mean(x[0], axis=(0, 1))
    averages, squares = pools(("avg", "avg"), [x - near, (x - near) ** 2])
    shift, square = (tf.reduce_mean(a, axis=0) for a in (averages, squares))
    mean, variance = near + shift, tf.maximum(square - shift**2, 0.0)
    inverse = tf.math.rsqrt(variance + epsilon)
    scale = gamma * inverse
    return (mean, inverse, scale, beta - mean * scale, averages - shift), variance
