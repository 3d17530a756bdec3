"""The files that a command is asked to write, checked before anything is computed for them."""

from os import PathLike
from pathlib import Path

from ..system.errors import UserError


def require_folder_of(path: str | PathLike[str], asked_by: str) -> None:
    """Checks that the folder of a file that will be written is there.

    Args:
        path: path of the file.
        asked_by: string, the setting that names it, for the message.

    Raises:
        UserError: the folder is not there, or is no folder.
    """
    folder = Path(path).parent
    if not folder.is_dir():
        raise UserError(f"{asked_by}: there is no folder {folder}")
