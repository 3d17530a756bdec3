"""From a settings class to a command: flags over `--config FILE.json` over defaults."""

import dataclasses
import json
import sys
import textwrap
from pathlib import Path

from jsonargparse import ActionConfigFile, ActionYesNo, ArgumentParser, DefaultHelpFormatter

from ..system.errors import UserError
from ..system.files import read_json
from .parsing import SettingError, boolean_word

LONGEST_ERROR = 4000  # characters


class _HelpFormatter(DefaultHelpFormatter):
    def _get_help_string(self, action):
        hidden = action.default is None or action.default == "==SUPPRESS=="
        return action.help if hidden else f"{action.help} (default: %(default)s)"


class _Parser(ArgumentParser):
    def error(self, message, *_):
        fail(f"{message}; see '{self.prog} --help'")


class _ConfigFile(ActionConfigFile):
    """Reads the file within bounds, and hands over what it holds instead of its name."""

    def __call__(self, parser, cfg, values, option_string=None):
        try:
            settings = read_json(values)
            if not isinstance(settings, dict) or self.dest in settings:
                raise UserError(
                    f"{values} must hold an object of settings without {self.dest!r}; "
                    f"received {settings}"
                )
            super().__call__(parser, cfg, json.dumps(settings), option_string)
        except UserError as error:
            raise UserError(f"--config: {error}") from None
        except RecursionError:
            raise UserError(f"--config: {values} is nested too deeply") from None


def parse_settings(settings_class, arguments, prog, description):
    """Parses the arguments of a command; exits with code 2 and one line if they are not valid.

    Args:
        settings_class: dataclass whose fields are made by `utils.config.settings.setting`; those
            without a default are positional.
        arguments: list of strings.
        prog: string, the command as the user types it.
        description: string for `--help`.

    Returns:
        An instance of `settings_class`.
    """
    parser = _Parser(
        prog=prog,
        description=description,
        parser_mode="json",
        allow_abbrev=False,
        print_config=None,
        formatter_class=_HelpFormatter,
    )
    for field in dataclasses.fields(settings_class):
        parse, help = field.metadata["parse"], field.metadata["help"]
        flag = "--" + field.name.replace("_", "-")
        if field.default is dataclasses.MISSING:
            # several are checked as a whole, by the class
            kind = {"nargs": "+"} if field.metadata["many"] else {"type": parse}
            name = field.name.upper()
            parser.add_argument(field.name, metavar=name, help=help, **kind)
        elif field.type in (bool, bool | None):
            # what may be left to the network can be said as a word too, as `compare` has it; a word
            # after a plain switch may be a run's folder
            words = {"nargs": "?"} if field.default is None else {}
            switch = ActionYesNo(no_prefix="no-")
            action = parser.add_argument(
                flag, action=switch, default=field.default, help=help, **words
            )
            # its own messages do not say what is allowed, or name no setting
            action.type, action._check_type = boolean_word, _named(parse, field.name)
            action.metavar = "true|false"
        elif field.metadata.get("many"):
            parser.add_argument(flag, nargs="+", default=field.default, metavar="VALUE", help=help)
        else:
            parser.add_argument(flag, type=parse, default=field.default, metavar="VALUE", help=help)
    parser.add_argument("--config", action=_ConfigFile, help="JSON file with any of these settings")
    arguments = _configs_first(arguments)
    values = parser.parse_args(arguments).as_dict()
    if values.get("resume"):  # the settings of that run, and what is said here over them
        config = str(Path(values["resume"]) / "config.json")
        values = parser.parse_args(["--config", config, *arguments]).as_dict()
    del values["config"]
    return settings_class(**values)


def _configs_first(arguments):
    """Moves `--config FILE` to the front: flags stand over the file wherever they stand."""
    rest = iter(sys.argv[1:] if arguments is None else arguments)
    files, others = [], []
    for argument in rest:
        if argument.startswith("--config="):
            files.append(argument)
        elif argument == "--config" and (name := next(rest, None)) is not None:
            files += [argument, name]
        else:
            others.append(argument)
    return files + others


def _named(parse, name):
    def parse_named(value):
        try:
            return parse(value)
        except SettingError as error:
            raise UserError(f"{name} {error}") from None

    return parse_named


def fail(message, code=2):
    """Says in one line what was wrong, and exits; code 2 stands for what the user can mend."""
    line = textwrap.shorten(f"error: {message}", LONGEST_ERROR, placeholder=" ...")
    # what a file holds could steer the terminal
    print("".join(c if c.isprintable() else "?" for c in line), file=sys.stderr)
    raise SystemExit(code)
