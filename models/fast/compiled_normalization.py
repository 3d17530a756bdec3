"""A batch normalization in training compiled by XLA, together with what follows it.

TensorFlow's kernel is slow where the channels are no multiple of 16, as in DenseNet with a growth
rate of 12, and in networks made narrow. In bfloat16 it then has to be given float32, and each
conversion is a pass of its own; so are the rectifier and its gradient. Here XLA makes four passes:
the moments and the output forward, two sums and the gradient of the input backward. The gradient of
the rectifier is a part of the last two, not a pass before them as in `with_epilogue`. The formulas
are at the top of `maps.py`.
"""

import tensorflow as tf

from .compiled_attention import gated_with_epilogue
from .reductions import float32, pools


def normalization(source):
    """Computes the values of a normalized map.

    Args:
        source: a `Normalized` map.

    Returns:
        A function `(*shortcuts, rectified=False)` that returns the values plus the shortcuts, with
        zero in the place of negative ones if `rectified`.
    """

    def fused(*shortcuts, rectified=False):
        @tf.custom_gradient
        def computed(*_):
            y = gated_with_epilogue(source, (), shortcuts, rectified)

            def gradient(dy):
                gradients = _gradients(dy, y if rectified else None, source, bool(shortcuts))
                *dsource, dshortcut = gradients
                return *dsource, *(dshortcut for _ in shortcuts)

            return y, gradient

        return computed(*source.inputs(), *shortcuts)

    return fused


@tf.function(jit_compile=True)
def _gradients(dy, rectified, source, of_shortcut):
    """The gradients of the source's inputs and, if asked for, of a shortcut.

    `rectified` is the output if a rectifier made it, or `None`.
    """
    dvalues = float32(dy) if rectified is None else tf.where(rectified > 0, float32(dy), 0.0)
    centered = dvalues * (float32(source.x) - source.mean)
    dsource = source.input_gradients(dvalues, *pools(("sum", "sum"), [dvalues, centered]))
    return *dsource, tf.cast(dvalues, dy.dtype) if of_shortcut else None
