"""Modules and networks of the user's own: which files a run was made with, and their contents."""

from collections.abc import Mapping
from typing import Any

from models.specification import (
    absolute_reference,
    format_specification,
    is_reference,
    load_reference,
    parse_specification,
    reference_checksum,
)

from ..config.settings import TrainSettings
from ..system.errors import UserError

NAMED_BY = ("model", "attention")  # settings that can name a user's own function


def with_own_code(settings: TrainSettings) -> dict[str, Any]:
    """Returns the settings that record the user's own code: absolute paths, and checksums.

    Args:
        settings: a `TrainSettings` as the user gave it.

    Returns:
        A dictionary of `model`, `attention` and `code`.

    Raises:
        UserError: a file or module that they name is not there.
    """
    found: dict[str, Any] = {"code": {}}
    for setting in NAMED_BY:
        name, options = parse_specification(getattr(settings, setting))
        name = absolute_reference(name)
        found[setting] = format_specification(name, options)
        if is_reference(name):
            found["code"][name] = _checksum(name)
    found["code"] = found["code"] or None
    return found


def import_own_code(config: Mapping[str, Any]) -> None:
    """Imports what a run's configuration names of the user's own, so that its network can load.

    Args:
        config: dictionary, the `config.json` of a run.

    Raises:
        UserError: a file is not there, cannot be imported, or has changed since the run began.
    """
    code = config.get("code") or {}
    if not isinstance(code, dict):
        raise UserError(f"code must be an object of names and SHA-256 sums; received {code!r}")
    for name, checksum in code.items():
        if _checksum(name) != checksum:
            raise UserError(
                f"{name} has changed since the run began; bring back the file whose SHA-256 is "
                f"{checksum}, or train another run"
            )
        try:
            load_reference(name)
        except ValueError as error:
            raise UserError(str(error)) from error


def _checksum(name: str) -> str:
    try:
        return reference_checksum(name)
    except ValueError as error:
        raise UserError(str(error)) from error
