"""Networks that were trained here, as the folders of runs that every command takes."""

import dataclasses
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, TypeVar

from models.pretrained import trained_weights

from ..config.fields import Settings
from ..config.settings import TrainSettings
from ..system.errors import UserError
from ..system.files import flush_folder, replacing, temporary_path, write_json
from .run_folder import SUMMARY, locked, read_summary

NAMING = ("run", "runs", "network", "init")  # settings that can name a trained network
ROOT = Path("runs")

Chosen = TypeVar("Chosen", bound=Settings)


def with_trained_runs(settings: Chosen) -> Chosen:
    """Returns settings with a run's folder in the place of every name of trained weights.

    Args:
        settings: settings of any command.
    """
    changed: dict[str, Any] = {}
    for field in NAMING:
        value = getattr(settings, field, None)
        if isinstance(value, str) and value in trained_weights():
            changed[field] = str(trained_run(value))
        elif isinstance(value, tuple) and any(each in trained_weights() for each in value):
            changed[field] = tuple(
                str(trained_run(each)) if each in trained_weights() else each for each in value
            )
    return dataclasses.replace(settings, **changed) if changed else settings  # type: ignore[type-var]


def trained_run(name: str) -> Path:
    """Returns the folder of a run with weights that were trained here; makes it if need be.

    A folder with the weights of another version of this package is made anew.

    Args:
        name: string, one of `list_weights()`.

    Returns:
        The path of the folder, below `runs/`, with `config.json`, `summary.json` and `best.keras`.

    Raises:
        UserError: that folder holds a run of the user's own, or is in use.
    """
    folder, entry = ROOT / name, trained_weights()[name]
    checksum = hashlib.sha256(entry.path.read_bytes()).hexdigest()
    if _is_made(folder, name, checksum):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(folder)
    temporary.mkdir()
    try:
        _write_run(temporary, entry, checksum)
        with locked(folder):
            if not _is_made(folder, name, checksum):  # by another process meanwhile
                _put(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _is_made(folder, name, checksum):
    """Whether a folder is a run with these weights; one of the user's own is refused."""
    if not (folder / "config.json").exists():
        return False
    found = _checksum_in(folder)
    if found is None:
        raise UserError(
            f"{folder}, where the network with the weights {name} belongs, holds a run of your "
            "own; move it elsewhere, or work in another folder"
        )
    return found == checksum


def _write_run(folder, entry, checksum):
    """Writes the files of a run with trained weights into a folder."""
    from models.pretrained import trained_model
    from models.saving import save_model
    from models.specification import parse_specification

    with replacing(folder / "best.keras") as temporary:
        save_model(trained_model(entry.name), temporary)
    write_json(
        folder / SUMMARY,
        {
            "test_accuracy": entry.test_accuracy,
            "params": entry.params,
            "epochs": entry.epochs,
            "seed": entry.seed,
            "class_names": entry.class_names,
            "weights": checksum,
        },
    )
    model, options = parse_specification(entry.model)
    config = TrainSettings(
        model=model,
        attention=entry.attention,
        dataset="cifar10",
        seed=entry.seed,
        precision="float32",
        **{**options, **entry.recipe, "epochs": entry.epochs},
    ).config()
    write_json(folder / "config.json", config)


def _put(made, folder):
    """Moves the files of a run into its folder, where others of the user's may be."""
    (folder / "config.json").unlink(missing_ok=True)  # until the rest is there, this is no run
    for name in ("best.keras", SUMMARY, "config.json"):
        os.replace(made / name, folder / name)
    flush_folder(folder)


def _checksum_in(folder):
    """The checksum of the weights that a folder was made from, or `None`."""
    return read_summary(folder).get("weights")
