"""A form, the object that calls it in the place of a layer's method, and what turns it off."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any

import keras

from .fusion import detached

# environment variable: 0 turns off every form
SWITCH = "ATTENTION_ZOO_FAST"

# not of one thread: TensorFlow traces the replicas of a model in threads of its own
_DISABLED: list[tuple[type, ...]] = []
_RECORDS: list[list] = []


def _every_layer(layer: keras.layers.Layer) -> bool:
    return True


@dataclasses.dataclass(frozen=True)
class Form:
    """A faster way to compute one method of a layer.

    Attributes:
        layer: the class of the layers that take the form. Subclasses do not take it, as they may
            compute something else, except for those that `inherited` lets in.
        method: string, the method that the form computes.
        compute: function of the layer and of the method's arguments that returns what the method
            would return, or `None` if the form does not apply to these arguments.
        suits: function of a layer that returns whether the form can compute it as it is configured.
            Defaults to `True` for every layer.
        inherited: tuple of names of methods. Subclasses that override none of them take the form
            too. Defaults to an empty tuple: no subclass does.
        fuses_normalization: bool, whether the form can also compute a batch normalization that
            comes before the layer. Defaults to `False`.
        backend: string, the Keras backend that the form is written for. Defaults to `"tensorflow"`.
    """

    layer: type[keras.layers.Layer]
    method: str
    compute: Callable[..., Any]
    suits: Callable[[Any], bool] = _every_layer
    inherited: tuple[str, ...] = ()
    fuses_normalization: bool = False
    backend: str = "tensorflow"

    def is_for(self, layer: keras.layers.Layer) -> bool:
        """Returns whether a layer takes the form, by its class and the present backend."""
        if keras.backend.backend() != self.backend:
            return False
        if type(layer) is self.layer:
            return True
        return (
            bool(self.inherited)
            and isinstance(layer, self.layer)
            and all(getattr(type(layer), m) is getattr(self.layer, m) for m in self.inherited)
        )

    def is_enabled(self) -> bool:
        """Returns whether neither the environment variable nor `disabled` turns the form off."""
        return is_switched_on() and not any(issubclass(self.layer, off) for off in _DISABLED)


class FastMethod:
    """Takes the place of a method of one layer.

    Attributes:
        layer: the layer.
        name: string, the method's name.
        forms: list of `Form`; the first that applies is computed.
        followers: list of the layers and operations that take the layer's output, in the model that
            was handed to `install`; empty for a layer that was handed over by itself.
        is_output: bool, whether a model that was handed to `install` returns the layer's output.
    """

    def __init__(self, layer: keras.layers.Layer, name: str, forms: list[Form]) -> None:
        self.layer = layer
        self.name = name
        self.forms = forms
        self.followers: list = []
        self.is_output = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for form in self.usable_forms():
            outputs = form.compute(self.layer, *args, **kwargs)
            if outputs is not None:
                for record in _RECORDS:
                    record.append((self.layer, form))
                return detached(outputs) if self.is_output else outputs
        return getattr(type(self.layer), self.name)(self.layer, *args, **kwargs)

    def usable_forms(self) -> list[Form]:
        """Returns the forms that are enabled and suit the layer."""
        return [form for form in self.forms if form.is_enabled() and form.suits(self.layer)]


def method_of(layer: Any, name: str = "call") -> FastMethod | None:
    """Returns the object in the place of a layer's method, or `None` if it is the class's own."""
    method = vars(layer).get(name)
    return method if isinstance(method, FastMethod) else None


def is_switched_on() -> bool:
    """Returns whether the environment variable `ATTENTION_ZOO_FAST` leaves the forms on."""
    return os.environ.get(SWITCH) != "0"


@contextlib.contextmanager
def disabled(*layers: type[keras.layers.Layer]) -> Iterator[None]:
    """A context in which layers compute in their plain form.

    What TensorFlow traced before stays as it was traced: a model that has already been trained or
    called by `predict` keeps its forms until it is compiled anew.

    Args:
        *layers: layer classes. Only the forms registered for them and for their subclasses are
            turned off. Defaults to all forms.

    Example:

    >>> with disabled():
    ...     model.fit(images, labels)
    """
    entry = layers or (keras.layers.Layer,)
    _DISABLED.append(entry)
    try:
        yield
    finally:
        _DISABLED.remove(entry)


@contextlib.contextmanager
def recorded() -> Iterator[list[tuple[Any, Form]]]:
    """A context that records which forms are computed.

    A graph is recorded once, when TensorFlow traces it.

    Yields:
        A list to which a pair of a layer and a `Form` is added for every form that applies.

    Example:

    >>> with recorded() as used:
    ...     model.predict(images)
    >>> [layer.name for layer, form in used]
    """
    record: list = []
    _RECORDS.append(record)
    try:
        yield record
    finally:
        _RECORDS[:] = [other for other in _RECORDS if other is not record]
