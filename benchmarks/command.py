"""The command line of a benchmark: its settings, and errors of its user in one line."""

import dataclasses
import functools
import sys

from utils.config.command_line import fail, parse_settings
from utils.config.parsing import SettingError
from utils.system.errors import RunError, UserError


def one_line_errors(main):
    """Makes a function exit with one line on stderr after a `UserError` or a `RunError`."""

    @functools.wraps(main)
    def run():
        try:
            main()
        except (UserError, RunError) as error:
            fail(error, error.code)

    return run


def parse(settings_class, name, doc):
    """Parses the words after `python -m benchmarks.NAME`.

    Args:
        settings_class: subclass of `Settings`.
        name: string, the module's name in `benchmarks`.
        doc: string, the module's docstring; `--help` shows its first line.

    Returns:
        An instance of `settings_class`.

    Raises:
        UserError: the words are not valid.
    """
    first_line = doc.partition("\n")[0]
    return parse_settings(settings_class, sys.argv[1:], f"benchmarks.{name}", first_line)


def needed(kind):
    """A kind for a setting that must be given although it has a flag; its default is `None`."""

    def check(value):
        if value is None:
            raise SettingError("must be given")
        return kind(value)

    return dataclasses.replace(kind, check=check)
