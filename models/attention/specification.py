"""Which attention module a network has, with which options, and where: from text to the builder.

Nothing here needs Keras, so that the command line can check text before a backend is imported.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..specification import (
    absolute_reference,
    format_specification,
    is_reference,
    parse_specification,
    short_name,
)

NONE = "none"
DEFAULT_PLACES = ("block",)  # the default of `attention_at`
# the order in which the folders of runs have named these options from the first version on
_FIRST = ("ratio", "kernel_size", "pools", "descriptor", "order", "batch_norm")


@dataclasses.dataclass(frozen=True)
class AttentionSpec:
    """An attention module, its options, and the places in a network where it goes.

    Args:
        name: string, a name of `list_attention()`, a user's own as `"my_modules.py:my_block"` or
            `"package.module:my_block"`, or `"none"`.
        options: tuple of pairs of names and values, in the order of `AttentionSpec.parse`.
        at: tuple of strings, the `attention_at` of the architectures.

    Example:

    >>> spec = AttentionSpec.parse("cbam_block(ratio=4, order='parallel')")
    >>> model = build_model("resnet_v1", attention_module=spec)
    """

    name: str = NONE
    options: tuple[tuple[str, Any], ...] = ()
    at: tuple[str, ...] = DEFAULT_PLACES

    @classmethod
    def parse(
        cls, text: str | None, at: str | Sequence[str] = DEFAULT_PLACES, **options: Any
    ) -> "AttentionSpec":
        """Reads a specification.

        Args:
            text: string such as `"cbam_block(ratio=4)"`; `None` is `"none"`.
            at: string or sequence of strings, where the module goes.
            **options: further options; they stand over those in the text. For a module's own
                `text` or `at` there is `from_options`.

        Raises:
            ValueError: the text is neither a name nor a name with literal options, or there are
                options without a module.
        """
        return cls.from_options(text, options, at)

    @classmethod
    def from_options(
        cls,
        text: str | None,
        options: Mapping[str, Any],
        at: str | Sequence[str] = DEFAULT_PLACES,
    ) -> "AttentionSpec":
        """Reads a specification as `parse` does, with options of any name, such as `at`.

        Args:
            text: string such as `"cbam_block(ratio=4)"`; `None` is `"none"`.
            options: dictionary of further options; they stand over those in the text.
            at: string or sequence of strings, where the module goes.

        Raises:
            ValueError: as `parse`.
        """
        name, given = parse_specification(NONE if text is None else text)
        name = NONE if name.lower() == NONE else name
        given.update(options)
        if name == NONE and given:
            raise ValueError(
                f"without an attention module nothing takes {', '.join(given)}; leave it out, or "
                "name a module"
            )
        return cls(
            name=name,
            options=tuple(sorted(given.items(), key=_rank)),
            at=(at,) if isinstance(at, str) else tuple(at),
        )

    def __str__(self) -> str:
        return format_specification(self.name, dict(self.options))

    @property
    def is_none(self) -> bool:
        """Whether there is no attention."""
        return self.name == NONE

    @property
    def is_own(self) -> bool:
        """Whether the module is the user's own, in a file or package of theirs."""
        return is_reference(self.name)

    @property
    def short_name(self) -> str:
        """The module's name without the file or package that it is in."""
        return short_name(self.name)

    def with_absolute_path(self) -> "AttentionSpec":
        """Returns the same specification, which holds in any folder."""
        return dataclasses.replace(self, name=absolute_reference(self.name))


def places_of(attention_module: Any, attention_at: str | Sequence[str]) -> tuple[str, ...]:
    """Returns where attention goes: as `attention_at` says, or else as the module's spec does.

    Args:
        attention_module: what names or is a module; an `AttentionSpec` names places too.
        attention_at: string or sequence of strings. `"block"`, the default of all networks, leaves
            it to the `AttentionSpec`.
    """
    at = (attention_at,) if isinstance(attention_at, str) else tuple(attention_at)
    if at == DEFAULT_PLACES and isinstance(attention_module, AttentionSpec):
        return attention_module.at
    return at


def _rank(option: tuple[str, Any]) -> tuple[int, str]:
    name = option[0]
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST)), name
