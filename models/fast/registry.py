"""The fast forms, by the layers that they compute. Another form is another entry here."""

from keras import layers

from ..attention.base import AttentionLayer
from ..attention.channel.squeeze_excitation import ChannelAttention
from ..attention.combined.cbam import CBAM
from . import attention_forms, keras_forms
from .methods import Form

# of several forms for one method, the first that applies is computed
FORMS = [
    Form(
        layers.BatchNormalization,
        "call",
        keras_forms.normalization_for_attention,
        suits=keras_forms.suits_normalization,
    ),
    Form(
        layers.BatchNormalization,
        "call",
        keras_forms.compiled_normalization,
        suits=keras_forms.suits_normalization,
    ),
    Form(
        layers.BatchNormalization,
        "call",
        keras_forms.normalization,
        suits=keras_forms.suits_normalization,
    ),
    Form(
        layers.Conv2D,
        "convolution_op",
        keras_forms.grouped_convolution,
        suits=keras_forms.suits_grouped_convolution,
    ),
    Form(
        layers.DepthwiseConv2D,
        "call",
        keras_forms.depthwise_convolution,
        suits=keras_forms.suits_depthwise_convolution,
    ),
    Form(layers.Add, "call", keras_forms.addition),
    Form(layers.Activation, "call", keras_forms.rectifier, suits=keras_forms.is_rectifier),
    Form(
        ChannelAttention,
        "call",
        attention_forms.channel_attention,
        suits=attention_forms.suits_channel_attention,
        inherited=("call", "attend", "build", "gated"),  # SE and CSE
        fuses_normalization=True,
    ),
    Form(
        CBAM,
        "call",
        attention_forms.cbam,
        suits=attention_forms.suits_cbam,
        inherited=("call", "attend", "build", "gated"),
        fuses_normalization=True,
    ),
    Form(AttentionLayer, "gated", attention_forms.gated, inherited=("gated",)),
]


def forms_of(layer):
    """Returns the forms that a layer takes, as a dictionary from the method to a list of `Form`."""
    found: dict[str, list[Form]] = {}
    for form in FORMS:
        if form.is_for(layer):
            found.setdefault(form.method, []).append(form)
    return found
