"""What settings classes are made of: their fields, and the checks of every value.

Nothing here needs Keras, so that `--help` answers at once.
"""

import dataclasses
from typing import Any

from ..system.errors import UserError
from .parsing import Kind, SettingError, optional


def setting(
    default: Any,
    kind: Kind,
    help: str,
    many: bool = False,
    hidden: bool = False,
    positional: bool = False,
) -> Any:
    """A field of a settings class.

    Args:
        default: its default; `dataclasses.MISSING` for a positional argument.
        kind: a `Kind`.
        help: string, a line for --help.
        many: bool, whether its flag takes several words.
        hidden: bool, whether it has no flag: the program fills it in.
        positional: bool, whether it is given without a flag although it has a default.
    """
    positional = positional or default is dataclasses.MISSING
    metadata = {
        "kind": kind, "help": help, "many": many, "hidden": hidden, "positional": positional
    }  # fmt: skip
    return dataclasses.field(default=default, metadata=metadata)


def option(kind: Kind, help: str, of: str = "architecture") -> Any:
    """An option that not every architecture, or not every attention module, has.

    Without it, the default of the architecture or module holds.
    """
    metadata = {"kind": optional(kind), "help": help, "many": False, "hidden": False,
                "positional": False, "option": of}  # fmt: skip
    return dataclasses.field(default=None, metadata=metadata)


def option_names(settings_class: Any, of: str) -> list[str]:
    """Returns the names of the settings that are options of an `"architecture"` or `"attention"`.

    Args:
        settings_class: subclass of `Settings`, or one of its instances.
        of: string.
    """
    fields = dataclasses.fields(settings_class)
    return [field.name for field in fields if field.metadata.get("option") == of]


def module_option(name: str) -> str:
    """Returns what an attention module calls the option that is the setting `name`.

    A setting that would sound like the whole network's has `attention_` before it.
    """
    return name.removeprefix("attention_")


class Settings:
    """Base of the settings classes: every value is checked, wherever it comes from."""

    group = "settings"  # the heading in --help of the fields that a class adds

    @classmethod
    def fields(cls) -> tuple[dataclasses.Field, ...]:
        """Returns the fields of the class, all made by `setting` or `option`."""
        return dataclasses.fields(cls)  # type: ignore[arg-type]  # every subclass is a dataclass

    def __post_init__(self) -> None:
        for field in self.fields():
            try:
                value = field.metadata["kind"](getattr(self, field.name))
            except SettingError as error:
                raise UserError(f"{field.name} {error}") from None
            object.__setattr__(self, field.name, value)


def given_options(settings: Settings, of: str) -> dict[str, Any]:
    """Returns the options of an `"architecture"` or of `"attention"` that have a value."""
    values = {name: getattr(settings, name) for name in option_names(settings, of)}
    return {name: value for name, value in values.items() if value is not None}


def filled_in(value: int | None) -> int:
    """Returns a setting whose default depends on the data, once that is known."""
    assert value is not None, "with_defaults fills in what depends on the data"
    return value
