"""CBAM with one change each, for the study in docs/does-attention-help.md; not in the library.

python main.py --attention configs/attention-study/variants.py:reflected_block
"""

import dataclasses

import keras
from keras import ops

from models.attention.combined.cbam import CBAM
from models.attention.spatial.spatial import SpatialAttention
from models.attention.starts import PUBLISHED


@keras.saving.register_keras_serializable(package="attention_study")
class ReflectedSpatialAttention(SpatialAttention):
    """Spatial attention whose maps continue beyond the border as in a mirror, not with zeros."""

    def build(self, input_shape):
        super().build(input_shape)
        self.conv.padding = "valid"

    def _describe(self, inputs):
        width = self.kernel_size // 2
        maps = super()._describe(inputs)
        return ops.pad(maps, [(0, 0), *[(width, width)] * (self.rank - 2), (0, 0)], mode="reflect")


@keras.saving.register_keras_serializable(package="attention_study")
class ReflectedCBAM(CBAM):
    """CBAM that starts at the identity, with `ReflectedSpatialAttention`."""

    def __init__(self, start="identity", **options):
        super().__init__(start=start, **options)
        old = self.spatial
        self.spatial = ReflectedSpatialAttention(
            old.kernel_size, old.descriptor, old.batch_norm, start, name="spatial",
            data_format=self.data_format, dtype=self.dtype_policy,
        )  # fmt: skip


@keras.saving.register_keras_serializable(package="attention_study")
class DoubledCBAM(CBAM):
    """CBAM with the published random weights and gates twice as large: about 1 at the start."""

    def __init__(self, **options):
        super().__init__(**options)
        for half in (self.channel, self.spatial):
            half.starting = dataclasses.replace(PUBLISHED, gain=2.0)


def reflected_block(x, name=None):
    return ReflectedCBAM(name=name)(x)


def doubled_block(x, name=None):
    return DoubledCBAM(name=name)(x)
