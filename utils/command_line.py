"""From a settings class to a command: flags over `--config FILE.json` over defaults."""

import dataclasses
import sys
from pathlib import Path

from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter

from .errors import UserError
from .settings import SettingError


class _HelpFormatter(DefaultHelpFormatter):
    def _get_help_string(self, action):
        hidden = action.default is None or action.default == "==SUPPRESS=="
        return action.help if hidden else f"{action.help} (default: %(default)s)"


class _Parser(ArgumentParser):
    def error(self, message, *_):
        fail(f"{message}; see '{self.prog} --help'")


def parse_settings(settings_class, arguments, prog, description):
    """Parses the arguments of a command; exits with code 2 and one line if they are not valid.

    Args:
        settings_class: dataclass whose fields are made by `utils.settings.setting`; those without a
            default are positional.
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
            parser.add_argument(field.name, type=parse, metavar=field.name.upper(), help=help)
        elif field.type in (bool, bool | None):
            switch = ActionYesNo(no_prefix="no-")
            action = parser.add_argument(flag, action=switch, default=field.default, help=help)
            action._check_type = _named(parse, field.name)  # its own message names no setting
        else:
            parser.add_argument(flag, type=parse, default=field.default, metavar="VALUE", help=help)
    parser.add_argument("--config", action="config", help="JSON file with any of these settings")
    values = parser.parse_args(arguments).as_dict()
    if values.get("resume"):  # the settings of that run, and what is said here over them
        config = Path(values["resume"]) / "config.json"
        if not config.is_file():
            fail(f"{values['resume']} is no run folder: it has no config.json")
        values = parser.parse_args(["--config", str(config), *arguments]).as_dict()
    del values["config"]
    return settings_class(**values)


def _named(parse, name):
    def parse_named(value):
        try:
            return parse(value)
        except SettingError as error:
            raise UserError(f"{name} {error}") from None

    return parse_named


def fail(message, code=2):
    """Says in one line what was wrong, and exits; code 2 stands for what the user can mend."""
    print("error: " + " ".join(str(message).split()), file=sys.stderr)
    raise SystemExit(code)
