"""What attention over pairs of positions, or of channels, is computed with."""

from keras import ops

from ..parts import at_least_float32


def mix(query, key, value, bias=None):
    """Sums values for each query, weighted by a softmax of its products with the keys.

    Products and softmax are in float32 at least, as products of large activations overflow in half
    precision.

    Args:
        query: tensor `(..., queries, size)`.
        key: tensor `(..., keys, size)`.
        value: tensor `(..., keys, width)`.
        bias: tensor that broadcasts to `(..., queries, keys)`, is added to the products.

    Returns:
        The sums `(..., queries, width)` in the dtype of the values, and the weight that each key
        has for all queries `(..., keys)`, relative to an equal weight of all keys: on average 1.
    """
    query, key = (at_least_float32(part) for part in (query, key))
    logits = ops.matmul(query, ops.swapaxes(key, -1, -2))
    return weighted_sum(logits if bias is None else logits + bias, value)


def weighted_sum(logits, value):
    """Sums values for each query, weighted by a softmax of its logits over the keys.

    Args:
        logits: tensor `(..., queries, keys)`.
        value: tensor `(..., keys, width)`.

    Returns:
        As `mix` does, the sums `(..., queries, width)` and the weight of each key `(..., keys)`.
    """
    weights = ops.softmax(logits, axis=-1)
    count = ops.cast(ops.shape(value)[-2], weights.dtype)
    mass = ops.mean(weights, axis=-2) * count
    y = ops.matmul(ops.cast(weights, value.dtype), value)
    return ops.cast(y, value.dtype), mass  # on PyTorch the product of float64 is float32
