"""An attention module that starts as the identity: it has no effect until it is trained."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="attention_zoo")
class IdentityStart(keras.layers.Layer):
    """Adds to a map what a module has learned since its start: `x + a(x; w) - a(x; w0)`.

    `a` is the module, `w` its weights, and `w0` the values that the weights had when this layer was
    built. The layer keeps `w0` and never trains it. Both terms are the same computation, with the
    same batch statistics and random numbers, so the outputs are `x` to the bit until `w` changes.
    The gradient by `w` is the module's own: every weight learns at its full rate from the first
    step.

    Two simpler starts learn more slowly. With a scale that starts at zero, `x + s (a(x) - x)`, the
    first gradient goes to `s` alone, and the module's weights learn in proportion to `s`. A gate
    that starts near one is in the flat end of its sigmoid. Here the gate in `x g` becomes
    `1 + g(x; w) - g(x; w0)`, which starts at one and can amplify as well as attenuate.

    The module is computed twice, of which a compiler can save what both terms share, such as the
    pooled map. Batch normalizations inside the module have moving statistics for each term.

    Args:
        module: a Keras layer or Functional model that takes a feature map and returns one of the
            same shape. It is the attribute `module`.
        **kwargs: Keras's own layer arguments (`name`, `trainable`).

    Input: a feature map, as the module takes it.

    Returns:
        A tensor of the input's shape and dtype.

    Raises:
        ValueError: `module` is no Keras layer, or its weights were quantized. Adapters (LoRA) are
            allowed.

    Example:

    >>> x = keras.Input((32, 32, 64))
    >>> y = IdentityStart(CBAM(ratio=16))(x)

    Reference:

    - The initial function is subtracted in
      [On Lazy Training in Differentiable Programming](https://arxiv.org/abs/1812.07956), section 2;
      scales that start at zero are those of [ReZero](https://arxiv.org/abs/2003.04887).
    """

    def __init__(self, module: keras.layers.Layer, **kwargs: Any) -> None:
        if not isinstance(module, keras.layers.Layer):
            raise ValueError(f"IdentityStart wraps a Keras layer, received {module!r}")
        kwargs.pop("autocast", None)
        # the kept weights reach the module uncast; it casts them where it casts its own
        super().__init__(autocast=False, **kwargs)
        self.module = module
        if not self.trainable:  # Keras freezes only the parts that a layer has when it is frozen
            module.trainable = False

    def build(self, input_shape):
        if not self.module.built:
            self.module(keras.Input(batch_shape=input_shape, dtype=self.compute_dtype))
        self.start = [
            self.add_weight(
                shape=weight.shape,
                dtype=weight.dtype,
                initializer=_ValueOf(weight),
                trainable=False,
                autocast=False,
                name=f"start_{number}",
            )
            for number, weight in enumerate(self.module.weights)
        ]

    def call(self, inputs):
        at_start = self._at_start(inputs)
        return inputs + ops.cast(self.module(inputs) - at_start, inputs.dtype)

    def _at_start(self, inputs):
        """The module's outputs with the kept weights, whose moving statistics it updates."""
        weights, adapters = self._weights_and_adapters()
        seeds = [v for v in self.module.variables if all(v is not w for w in self.module.weights)]
        state = [
            *zip(weights, self.start, strict=True),
            *((adapter, ops.zeros_like(adapter)) for adapter in adapters),
            *((seed, seed.value) for seed in seeds),
        ]
        with keras.StatelessScope(state) as scope:
            outputs = self.module(inputs)
        for weight, start in zip(weights, self.start, strict=True):
            if not weight.trainable:
                start.assign(scope.get_current_value(weight))
        return outputs

    def _weights_and_adapters(self):
        """The module's weights that have a start, and those that LoRA has added since."""
        weights: list[keras.Variable] = []
        adapters: list[keras.Variable] = []
        for weight in self.module.weights:
            (adapters if weight.name.startswith("lora_") else weights).append(weight)
        if [weight.shape for weight in weights] != [start.shape for start in self.start]:
            raise ValueError(
                f"{self.name} needs the weights that {self.module.name} had when it was built, and "
                f"these were replaced, as quantize() does; quantize a model whose attention starts "
                "as the identity without IdentityStart: "
                "add_attention(model, \"se_block(start='identity')\", start='standard')"
            )
        return weights, adapters

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        module = keras.saving.serialize_keras_object(self.module)
        return {**super().get_config(), "module": module}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        module = keras.saving.deserialize_keras_object(config["module"], custom_objects)
        return cls(**{**config, "module": module})


class _ValueOf:
    """An initializer that returns the present value of another variable."""

    def __init__(self, variable):
        self.variable = variable

    def __call__(self, shape, dtype=None):
        # a copy: training may change the variable in place, or give its buffer away
        return ops.stop_gradient(ops.copy(ops.convert_to_tensor(self.variable, dtype)))
