"""A start at the identity: any attention module, first without any effect on the outputs."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="attention_zoo")
class IdentityStart(keras.layers.Layer):
    """What a module has learned since its start, added to its input: `x + a(x; w) - a(x; w0)`.

    `a` is the module, `w` its weights, `w0` their values when this layer was built, which it keeps
    and never trains. Both terms are the same computation (the same batch statistics, the same
    random numbers), so the outputs are `x` to the bit until `w` moves. The derivative by `w` is the
    module's own: every weight learns from the first step at its full rate. A scale that starts at
    zero, `x + s (a(x) - x)`, gives the first gradient to `s` alone, and the module's weights learn
    at a rate in proportion to the little that `s` has grown. For a gate `g`, `x g` becomes
    `x (1 + g(x; w) - g(x; w0))`: a gate that starts at one and is free to amplify as well as to
    attenuate, where one that starts far in a sigmoid's flat end would hardly move.

    It computes the module twice; what both terms share, such as the pooled map, a compiler can
    compute once. Batch normalizations inside keep moving statistics for either term.

    Args:
        module: a Keras layer or Functional model, a feature map in, one of the same shape out. It
            stays at hand as the attribute `module`.
        **kwargs: Keras's own layer arguments (`name`, `trainable`).

    Input: a feature map, as the module takes it.

    Returns:
        A tensor of the input's shape and dtype.

    Raises:
        ValueError: `module` is no Keras layer.

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
        # the kept weights must reach the module as they are; it casts them where it casts its own
        super().__init__(autocast=False, **kwargs)
        self.module = module

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
        """The module with its initial weights; statistics that it updates are those kept here."""
        weights = self.module.weights
        seeds = [v for v in self.module.variables if all(v is not w for w in weights)]
        state = [*zip(weights, self.start, strict=True), *((seed, seed.value) for seed in seeds)]
        with keras.StatelessScope(state) as scope:
            outputs = self.module(inputs)
        for weight, start in zip(weights, self.start, strict=True):
            if not weight.trainable:
                start.assign(scope.get_current_value(weight))
        return outputs

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
    """An initializer: the value that another variable has when it is asked."""

    def __init__(self, variable):
        self.variable = variable

    def __call__(self, shape, dtype=None):
        # a copy: a trained variable may be changed in place, or its buffer given away
        return ops.stop_gradient(ops.copy(ops.convert_to_tensor(self.variable, dtype)))
