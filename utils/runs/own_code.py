"""Modules and networks of the user's own: which files a run was made with, and their contents."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from models.specification import (
    absolute_reference,
    format_specification,
    is_keras_model,
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
        if getattr(settings, setting) is None:  # the data decides
            continue
        name, options = parse_specification(getattr(settings, setting))
        name = absolute_reference(name)
        found[setting] = format_specification(name, options)
        if is_reference(name) or name.endswith(".keras"):
            found["code"][name] = _checksum(name)
    found["code"] = found["code"] or None
    return found


def import_own_code(config: Mapping[str, Any], run: str | PathLike[str]) -> None:
    """Imports what a run's configuration names of the user's own, so that its network can load.

    Nothing is imported from the run's own folder, which may come from anybody.

    Args:
        config: dictionary, the `config.json` of a run.
        run: path of the run's folder.

    Raises:
        UserError: a file is not there, cannot be imported, is not named by its absolute path, is in
            the run's folder, or has changed since the run began.
    """
    code = config.get("code") or {}
    if not isinstance(code, dict):
        raise UserError(f"code must be an object of names and SHA-256 sums; received {code!r}")
    names = _references(config)
    for name in names:
        if absolute_reference(name) != name or _is_below(name, run):
            raise UserError(
                f"{name} is not imported: a run's own code is named by an absolute path outside of "
                "the run's folder"
            )
    for name in names:
        if _checksum(name) != code.get(name):
            raise UserError(
                f"{name} has changed since the run began; bring back the file whose SHA-256 is "
                f"{code.get(name)}, or train again, with another --run-dir"
            )
        try:
            load_reference(name)
        except ValueError as error:
            raise UserError(str(error)) from error


def _references(config: Mapping[str, Any]) -> list[str]:
    """The user's own functions that a configuration names, each once."""
    found = []
    for setting in NAMED_BY:
        try:
            name, _ = parse_specification(str(config.get(setting, "")))
        except ValueError:  # of another version, or of nobody
            continue
        if is_reference(name) and not is_keras_model(name):  # a run has its network's layers
            found.append(name)
    return list(dict.fromkeys(found))


def _is_below(name: str, run: str | PathLike[str]) -> bool:
    return Path(run).resolve() in Path(name.rpartition(":")[0]).parents


def _checksum(name: str) -> str:
    try:
        return reference_checksum(name)
    except ValueError as error:
        raise UserError(str(error)) from error
