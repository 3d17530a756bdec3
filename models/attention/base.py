"""What all attention layers share: input checks, axes, and the maps they can return."""

import contextlib
import functools
import inspect
import math
import operator
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ..checks import require_one_of
from .hooks import announce
from .parts import at_least_float32


class AttentionLayer(keras.layers.Layer):
    """Base of the attention layers: a feature map in, a feature map of the same shape out.

    A subclass builds its weights in `build` (after `super().build`) and computes in `attend`, which
    returns the outputs and a dictionary of the attention maps that led to them.

    A subclass that multiplies matrices itself, such as queries by keys, has a method
    `products(input_shape)`. It returns a tuple `(rows, terms, columns)` for each product that one
    image takes: a matrix of `rows x terms`, times one of `terms x columns`. The layer is built.

    Every attention layer takes `kernel_initializer`, `bias_initializer` and `kernel_regularizer`,
    for all its dense layers and convolutions.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's
            `image_data_format`.
        kernel_initializer: initializer of the kernels, but for those that start at zero, as `start`
            has it. Defaults to `None`: He's normal distribution, unless the class says otherwise.
        bias_initializer: initializer of the biases, likewise. Defaults to `None`.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        **kwargs: Keras's own layer arguments (`name`, `dtype`, `trainable`).

    Raises:
        ValueError: an unknown option, data format, an option for kernels of a layer without any, or
            an input that is not of one of the ranks that the layer takes.
    """

    ranks: tuple[int, ...] = (4,)  # of inputs that the layer takes, with their batch
    has_kernels = True

    def __init__(
        self,
        data_format: str | None = None,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        self._refuse_unknown(kwargs)
        super().__init__(**kwargs)
        self.weight_options = _serialized(
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
        )
        if self.weight_options and not self.has_kernels:
            raise ValueError(
                f"{type(self).__name__} has neither dense layers nor convolutions; received "
                f"{', '.join(self.weight_options)}"
            )
        self.data_format = data_format or keras.config.image_data_format()
        require_one_of("data_format", self.data_format, ("channels_last", "channels_first"))
        announce(self)

    def _refuse_unknown(self, kwargs):
        unknown = set(kwargs) - {"name", *KERAS_OPTIONS, *WEIGHT_OPTIONS}
        if unknown:
            options = inspect.signature(type(self).__init__).parameters
            known = [name for name in options if name not in ("self", "kwargs")]
            known += WEIGHT_OPTIONS if self.has_kernels else ()
            raise ValueError(
                f"{type(self).__name__} has no option {', '.join(map(repr, sorted(unknown)))}; "
                f"it takes {', '.join(known)}"
            )

    @property
    def options_of_parts(self) -> dict[str, Any]:
        """The options that an attention layer hands on to the attention layers it is made of."""
        return {
            "data_format": self.data_format,
            "dtype": self.dtype_policy,
            "trainable": self.trainable,
            **self.weight_options,
        }

    @property
    def gate_policy(self) -> keras.DTypePolicy:
        """The dtype policy of the layers that compute gates: float32 under mixed precision.

        They work on a few pooled values, where float32 costs nothing and half precision has too few
        digits.
        """
        mixed = self.variable_dtype == "float32" and self.compute_dtype != "float32"
        return keras.DTypePolicy("float32") if mixed else self.dtype_policy

    @property
    def gate_dtype(self) -> str:
        """The dtype that gates are computed in, of `gate_policy`."""
        return self.gate_policy.compute_dtype

    @property
    def channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        first = 1 if self.data_format == "channels_last" else 2
        return tuple(range(first, first + self.rank - 2))

    def build(self, input_shape):
        _refuse_several(type(self).__name__, input_shape)
        if len(input_shape) not in self.ranks:
            raise ValueError(
                f"{type(self).__name__} needs {shapes_of_ranks(self.ranks)}, received shape "
                f"{tuple(input_shape)}"
            )
        self.rank = len(input_shape)
        channels = input_shape[self.channel_axis]
        if channels is None:
            raise ValueError(
                f"{type(self).__name__} needs a known number of channels, received shape "
                f"{tuple(input_shape)} with data_format={self.data_format!r}"
            )
        self.channels = channels
        axis = self.channel_axis % self.rank
        self.input_spec = keras.layers.InputSpec(ndim=self.rank, axes={axis: channels})

    def call(self, inputs: Any, training: bool | None = None, return_maps: bool = False) -> Any:
        if not keras.backend.is_float_dtype(inputs.dtype):  # in integers, a gate is zero or one
            inputs = ops.cast(inputs, self.compute_dtype)
        outputs, maps = (self._attend_nothing if inputs.shape[0] == 0 else self.attend)(
            inputs, training
        )
        return (outputs, maps) if return_maps else outputs

    def _attend_nothing(self, inputs, training):
        """The outputs and maps for a batch without images, for which backends raise errors."""
        image = ops.zeros((1, *inputs.shape[1:]), inputs.dtype)
        # not training: one image of zeros must not become part of the statistics
        return keras.tree.map_structure(lambda x: x[:0], self.attend(image, training=False))

    def attend(self, inputs: Any, training: bool | None = None) -> tuple[Any, dict[str, Any]]:
        """Returns `(outputs, maps)`, the maps as a dictionary of broadcastable tensors."""
        raise NotImplementedError

    def positions(self, input_shape: Sequence[int]) -> int:
        """Returns the number of positions of a map whose shape is known."""
        return math.prod(input_shape[axis] for axis in self.spatial_axes)

    def gated(self, x: Any, *gates: Any) -> Any:
        """Returns a feature map times its gates, in the map's dtype.

        Args:
            x: tensor, the feature map.
            *gates: tensors that broadcast to its shape, of any floating dtype.
        """
        return functools.reduce(operator.mul, (ops.cast(gate, x.dtype) for gate in gates), x)

    def compute_output_spec(self, inputs, training=None, return_maps=False):
        if return_maps:
            # traced: a `Layer` would take `compute_output_shape` for the whole structure
            return keras.Operation.compute_output_spec(
                self, inputs, training=training, return_maps=True
            )
        # stated, as tracing every layer would take most of the time to build a deep network
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "data_format": self.data_format,
            **{name: _config_of(name, option) for name, option in self.weight_options.items()},
        }


# of every Keras layer, besides its name
KERAS_OPTIONS = ("dtype", "trainable", "autocast", "activity_regularizer")
# of every attention layer, besides its own options
WEIGHT_OPTIONS = ("kernel_initializer", "bias_initializer", "kernel_regularizer")
DESCRIPTIONS = {
    3: "a sequence of rank 3 (batch, steps, channels)",
    4: "a feature map of rank 4 (batch, height, width, channels)",
    5: "a volume of rank 5 (batch, depth, height, width, channels)",
}


def shapes_of_ranks(ranks):
    """Returns in words what inputs of some ranks are."""
    *others, last = (DESCRIPTIONS[rank] for rank in ranks)
    return f"{', '.join(others)} or {last}" if others else last


def _refuse_several(name, shapes):
    """Refuses shapes in the place of one: those of a list, a tuple or a dictionary of inputs."""
    if isinstance(shapes, dict) or any(isinstance(shape, (tuple, list, dict)) for shape in shapes):
        raise ValueError(
            f"{name} takes one feature map, received a {type(shapes).__name__} of {len(shapes)}; "
            f"call it on each, or on what keras.layers.Concatenate makes of them"
        )


def _serialized(**given):
    """The options that are given, as configurations: an object would give all layers one draw.

    An object that Keras cannot make again, such as a function that is not registered, stays itself.
    """
    found = {}
    for name, option in given.items():
        if option is not None:
            found[name] = made = _kind_of(name).get(_unshared(option))
            with contextlib.suppress(ValueError, TypeError):
                config = _config_of(name, made)
                _kind_of(name).get(config)
                found[name] = config
    return found


def _kind_of(name):
    return keras.regularizers if name.endswith("regularizer") else keras.initializers


def _config_of(name, option):
    return option if isinstance(option, dict) else _unshared(_kind_of(name).serialize(option))


def _unshared(config):
    """A copy of a configuration, without Keras's mark of an object that several layers share.

    Keras tells objects apart by their `id()`. While it loads a model, a new regularizer can have
    the `id()` of a deleted initializer. Both are then marked as one object, and are loaded as one.
    """
    if not isinstance(config, dict):
        return config
    return {name: value for name, value in config.items() if name != "shared_object_id"}


def pool(x, kind, axes):
    """Reduces a feature map over `axes`, in at least float32.

    Args:
        x: tensor.
        kind: one of `POOLS`: `"avg"`, `"max"`, `"lp"` (L2 norm) or `"lse"` (log-sum-exp).
        axes: int or tuple of ints. They are kept with length 1.

    Returns:
        A float32 tensor (float64 for float64 input), as a sum over a large map overflows in half
        precision.
    """
    return POOLS[kind](at_least_float32(x), axes)


def _l2_norm(x, axes):
    squares = ops.sum(ops.square(x), axis=axes, keepdims=True)
    return ops.sqrt(
        ops.maximum(squares, keras.config.epsilon() ** 2)
    )  # the root has no gradient at zero


POOLS = {
    "avg": lambda x, axes: ops.mean(x, axis=axes, keepdims=True),
    "max": lambda x, axes: ops.max(x, axis=axes, keepdims=True),
    "lp": _l2_norm,
    "lse": lambda x, axes: ops.logsumexp(x, axis=axes, keepdims=True),
}


def require_pools(name, value, allowed=tuple(POOLS)):
    """Returns `value` as a tuple of distinct names of pools, or raises a `ValueError`."""
    pools = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    distinct = [kind for kind in allowed if kind in pools]
    if not pools or len(distinct) != len(pools):
        raise ValueError(
            f"{name} must be one or more of {', '.join(map(repr, allowed))}, each once; "
            f"received {value!r}"
        )
    return pools
