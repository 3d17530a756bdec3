"""The image files that a user names: as files, folders, patterns, or a list on standard input."""

import dataclasses
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ..data.images.class_folders import (
    class_of_file,
    class_of_folders,
    find_image_files,
    passed_over,
)
from ..data.images.decoding import ENDINGS
from ..system.errors import UserError

STANDARD_INPUT = "-"


@dataclasses.dataclass(frozen=True)
class ImagePath:
    """An image file to predict.

    Args:
        path: its path.
        label: string, the class whose folder it is in; `None` if it is in no class's folder.
    """

    path: Path
    label: str | None


def find_images(
    sources: Sequence[str],
    class_names: Sequence[str],
    standard_input: Iterable[bytes] = (),
    announce: Callable[[str], object] = lambda line: None,
) -> list[ImagePath]:
    """Finds the image files that are to be predicted, each once and in the order of the sources.

    Args:
        sources: sequence of strings: paths of files; of folders, for the image files in and below
            them; patterns such as `"photos/**/*.jpg"`; or `"-"` for a list on standard input. A
            file is there even if it has no ending of an image: it is tried.
        class_names: sequence of strings. An image in a folder of such a name is of that class.
        standard_input: iterable of bytes, the lines of standard input, a path each; names of files
            need not be UTF-8. Defaults to none.
        announce: function that takes a line about the files in a folder that are passed over.
            Defaults to one that does nothing.

    Returns:
        A list of `ImagePath`s.

    Raises:
        UserError: nothing has that name, a pattern matches nothing, a folder has no image,
            or standard input has paths that NUL separates.
    """
    found: dict[Path, ImagePath] = {}
    for source in sources:
        listed = _lines(standard_input) if source == STANDARD_INPUT else [source]
        for name in listed:
            for image in _images_of(name, class_names, announce):
                found.setdefault(image.path, image)
    if not found:
        raise UserError("images: no path was given on standard input")
    return list(found.values())


def _lines(standard_input: Iterable[bytes]) -> Iterator[str]:
    for line in standard_input:
        if b"\0" in line:
            raise UserError(
                "images: paths must be one a line; received NUL, as find -print0 writes"
            )
        if name := os.fsdecode(line.rstrip(b"\r\n")):
            yield name


def _images_of(
    name: str, class_names: Sequence[str], announce: Callable[[str], object]
) -> Iterator[ImagePath]:
    path = Path(name)
    if path.is_dir():
        yield from _images_below(path, class_names, announce)
        return
    if not path.exists() and not glob.has_magic(name):
        raise UserError(f"images: there is nothing called {name!r}")
    # a file may have characters of a pattern in its name
    paths = [path] if path.exists() else _matches(name)
    for each in paths:
        if each.is_dir():
            yield from _images_below(each, class_names, announce)
        else:
            yield ImagePath(each, class_of_file(each, class_names))


def _matches(pattern: str) -> list[Path]:
    paths = sorted(map(Path, glob.glob(pattern, recursive=True)))
    if not paths:
        raise UserError(f"images: the pattern {pattern!r} matches no file")
    return paths


def _images_below(
    folder: Path, class_names: Sequence[str], announce: Callable[[str], object]
) -> Iterator[ImagePath]:
    files, passed = find_image_files(folder)
    if not files:
        raise UserError(
            f"images: the folder {str(folder)!r} has no {', '.join(ENDINGS)} file in or below it"
        )
    if passed:
        announce(passed_over(passed, folder))
    for file in files:
        parents = [folder.resolve().name, *file.relative_to(folder).parts[:-1]]
        yield ImagePath(file, class_of_folders(parents[::-1], class_names))
