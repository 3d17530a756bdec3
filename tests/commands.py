"""Commands in this process: their settings, and what they refuse."""

import pytest

from main import main
from utils.config.command_line import parse_settings
from utils.config.settings import TrainSettings


def refused(capsys, *arguments):
    """Runs a command line that must be refused; returns the one line that says why."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(list(map(str, arguments)))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1, error
    return error


def parse(*words, settings_class=TrainSettings):
    """The settings that words on the command line make."""
    return parse_settings(settings_class, words, "main.py", "")
