"""How many multiply-adds each kind of layer of Keras takes for one call."""

import math
from typing import Any

import keras
from keras import layers

from models.attention_module import IdentityStart
from models.private_api import all_layers


def _positions(layer: Any, tensor: Any) -> int:
    """Returns the number of vectors of channels in a layer's input or output."""
    channels_first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return math.prod(tensor.shape) // tensor.shape[1 if channels_first else -1]


def _kernel(layer, x, y):
    """Each position of the output is the product of a patch, or a vector, with the kernel."""
    return _positions(layer, y) * math.prod(layer.kernel.shape)


def _transposed(layer, x, y):
    """Each position of the input is multiplied by the whole kernel, and added to the output."""
    return _positions(layer, x) * math.prod(layer.kernel.shape)


def _separable(layer, x, y):
    """Both kernels run at the positions of the output, where the stride has left them."""
    kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
    return _positions(layer, y) * sum(math.prod(kernel.shape) for kernel in kernels)


def _einsum(layer, x, y):
    """Each number of the output is a sum over those axes of the kernel that the output lacks."""
    left, _, result = layer.equation.replace(" ", "").partition("->")
    sizes = zip(left.partition(",")[2], layer.kernel.shape, strict=True)
    return math.prod(y.shape) * math.prod(size for axis, size in sizes if axis not in result)


# a kind of layer -> function of the layer, its input and its output
MULTIPLY_ADDS = {
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Dense), _kernel),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _kernel),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    **dict.fromkeys(
        (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _transposed
    ),
    layers.EinsumDense: _einsum,  # also inside MultiHeadAttention
}
# they multiply maps with each other, which is not counted
PRODUCTS = (
    layers.AdditiveAttention,
    layers.Attention,
    layers.Dot,
    layers.GroupQueryAttention,
    layers.MultiHeadAttention,
)
# whose weights, of any shape, are looked up, or applied number by number
_WITHOUT_KERNEL = (
    layers.BatchNormalization,
    layers.Embedding,
    layers.LayerNormalization,
    layers.Normalization,
    layers.PReLU,
    layers.RMSNormalization,
    IdentityStart,  # it keeps the first weights of layers that are counted themselves
)


def multiplies_by_kernel(layer: keras.Layer) -> bool:
    """Returns whether a layer seems to multiply by a matrix or a kernel of its own.

    Args:
        layer: a built Keras layer.

    Returns:
        Whether one of its own weights, not those of layers inside it, has two axes longer than 1,
        unless the layer is known to multiply by no kernel.
    """
    if isinstance(layer, _WITHOUT_KERNEL):
        return False
    inner = {
        id(weight) for part in all_layers(layer, include_self=False) for weight in part.weights
    }
    own = (weight for weight in layer.weights if id(weight) not in inner)
    return any(sum(side > 1 for side in weight.shape) > 1 for weight in own)
