"""From a settings class to a command: flags over `--config FILE.json` over defaults."""

import argparse
import dataclasses
import difflib
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from models.pretrained import trained_weights
from models.specification import parse_specification

from ..system.errors import UserError
from ..system.files import read_json
from ..system.terminal import printable, shell_word
from .fields import Settings, option_names
from .recipes import DEFAULT_RECIPE, FINE_TUNING, PLAIN, recipe_settings
from .settings import NOT_RECORDED, TrainSettings

LONGEST_ERROR = 4000  # characters
NO_WEIGHTS: tuple[Any, ...] = (None, "none", [], ["none"])  # values of `init` and `weights`
OF_ATTENTION = ("attention", "attention_at", *option_names(TrainSettings, "attention"))
Chosen = TypeVar("Chosen", bound=Settings)


class _Parser(argparse.ArgumentParser):
    def parse_args(self, *arguments: Any, **named: Any) -> Any:
        values, unknown = self.parse_known_args(*arguments, **named)
        if unknown:
            hint = _hint(unknown[0].partition("=")[0], list(self._option_string_actions))
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return values

    def error(self, message: str) -> NoReturn:
        fail(f"{message}; see '{self.prog} --help'")


def _hint(word: str, known: Sequence[str]) -> str:
    """What an unknown argument was probably meant as, for the end of a message."""
    if word == "--lr":  # everyone's name for it, and too short to be close to ours
        close = ["--learning-rate"]
    elif word.startswith("-"):
        close = difflib.get_close_matches(word.replace("_", "-"), known, n=1)
    elif (Path(word) / "config.json").is_file() and "--resume" in known:
        return "; --resume RUN continues a run"
    elif "--resume" in known:
        return "; 'main.py compare' takes several values of a setting"
    else:
        close = []
    return f"; did you mean {close[0]!r}?" if close and close[0] in known else ""


class _Booleans(argparse.Action):
    """Of a flag with several values, which alone means true."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, values or [True])


def parse_settings(
    settings_class: type[Chosen], arguments: Sequence[str], prog: str, description: str
) -> Chosen:
    """Parses the arguments of a command; exits with code 2 and one line if they are not valid.

    Args:
        settings_class: subclass of `Settings`, whose fields are made by `setting`; those without a
            default are positional.
        arguments: sequence of strings.
        prog: string, the command as the user types it.
        description: string for `--help`.

    Returns:
        An instance of `settings_class`.

    Raises:
        UserError: a file of settings cannot be read, or holds what the command does not have.
    """
    values = vars(_parser(settings_class, prog, description).parse_args(arguments))
    files = values.pop("config", [])
    known = [field.name for field in settings_class.fields()]
    _refuse_without_effect(values)
    for file in reversed(files):
        values = {**_read_config(file, known), **values}
    _refuse_contradictions(values)
    if values.get("init") in ("imagenet", ["imagenet"]):  # by name, as well as by run or file
        values["weights"] = values.pop("init")
    values = {**_of_initial_run(values, known), **values}
    resumed = values.get("resume")
    if resumed:  # the settings of that run stand below all others
        # its folder may come from anybody: it does not say where to connect to or what to force
        recorded = [name for name in known if name not in NOT_RECORDED]
        own = _read_config(str(Path(resumed) / "config.json"), recorded, "--resume")
        values = {**own, **values}
    if "recipe" in known:
        # what a file or a run does not say is what it was before there were recipes
        from_weights = any(values.get(name) not in NO_WEIGHTS for name in ("init", "weights"))
        default = PLAIN if files or resumed else DEFAULT_RECIPE
        name = values.get("recipe", FINE_TUNING if from_weights and not resumed else default)
        values = {**recipe_settings(name), **values}
    return settings_class(**values)


def _refuse_without_effect(flags: dict[str, Any]) -> None:
    """Refuses flags that others among them make meaningless.

    In a file they are no mistake: `config.json` has every setting.
    """
    if flags.get("augment") is False:
        for name in sorted({"crop", "crop_padding"} & flags.keys()):
            raise UserError(
                f"{_flag_of(name)} has no effect with --no-augment; leave one of them out"
            )


def _refuse_contradictions(values: dict[str, Any]) -> None:
    """Refuses settings that name two folders to write to, or two sources of weights."""
    resumed = values.get("resume")
    if resumed is not None and not isinstance(resumed, str):
        raise UserError(f"resume must be the folder of a run; received {resumed!r}")
    if resumed and values.get("run_dir"):
        raise UserError(
            f"--resume goes on in {resumed}: leave --run-dir out, or train a new run with --init "
            f"{shell_word(resumed)}"
        )
    if values.get("force") and not resumed:
        raise UserError("--force is for a run that is resumed; give --resume RUN, or leave it out")
    init, weights = values.get("init"), values.get("weights")
    from_imagenet = init in ("imagenet", ["imagenet"])
    if from_imagenet and "weights" in values and weights != "imagenet":
        raise UserError(f"--init imagenet and --weights {weights} contradict each other")
    if init not in NO_WEIGHTS and not from_imagenet and weights not in NO_WEIGHTS:
        raise UserError(
            f"--init and --weights {weights} both say where to begin; leave one of them out"
        )


def _of_initial_run(values: dict[str, Any], known: list[str]) -> dict[str, Any]:
    """The network and, of one training, the attention of the run to start from, if not given."""
    init = values.get("init")
    compares = "seeds" in known  # several modules, which the run does not name
    if isinstance(init, list) and len(init) == 1:
        (init,) = init
    if not isinstance(init, str):
        return {}
    if init in trained_weights():
        entry = trained_weights()[init]
        model, options = parse_specification(entry.model)
        config: Any = {"model": model, **options, "attention": entry.attention}
    elif (Path(init) / "config.json").is_file():
        config = read_json(Path(init) / "config.json")
    else:
        return {}
    names = [] if "model" in values else ["model", *option_names(TrainSettings, "architecture")]
    names += [] if compares or "attention" in values else OF_ATTENTION
    found = {name: config.get(name) for name in names} if isinstance(config, dict) else {}
    return {name: value for name, value in found.items() if name in known and value is not None}


def _parser(settings_class: type[Settings], prog: str, description: str) -> _Parser:
    parser = _Parser(
        prog=prog,
        usage=f"{prog} [--SETTING VALUE ...]" + _positionals(settings_class),
        description=description,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,  # what is not given may be in a file
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    groups: dict[str, Any] = {}
    of_recipe = recipe_settings(DEFAULT_RECIPE)
    for field in settings_class.fields():
        if field.metadata["hidden"]:
            continue
        title = _group_of(settings_class, field.name)
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        _add_argument(groups[title], field, of_recipe.get(field.name, field.default))
    parser.add_argument(
        "--config", action="append", metavar="FILE.json",
        help="file with any of these settings; flags take precedence",
    )  # fmt: skip
    return parser


def _positionals(settings_class: type[Settings]) -> str:
    fields = [field for field in settings_class.fields() if field.metadata["positional"]]
    needed = {field.name: field.default is dataclasses.MISSING for field in fields}
    return "".join(f" {n.upper()}" if needed[n] else f" [{n.upper()}]" for n in needed)


def _group_of(settings_class: type[Settings], name: str) -> str:
    """The heading of a field: that of the class which declares it first."""
    owners = [
        owner
        for owner in settings_class.__mro__
        if issubclass(owner, Settings) and name in vars(owner).get("__annotations__", ())
    ]
    return owners[-1].group


def _flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def _add_argument(group: Any, field: dataclasses.Field, default: Any) -> None:
    kind, many = field.metadata["kind"], field.metadata["many"]
    flag = _flag_of(field.name)
    nargs = {"nargs": "+"} if many else {}
    # several values are checked together, by the settings class
    check: dict[str, Any] = {} if many else {"type": kind}
    if field.metadata["positional"]:
        if field.default is not dataclasses.MISSING:
            nargs = {"nargs": "*" if many else "?"}
        group.add_argument(field.name, metavar=field.name.upper(), help=field.metadata["help"],
                           **nargs, **check)  # fmt: skip
        return
    options = {"help": field.metadata["help"] + _default_text(default)}
    if many and kind.metavar == "true|false":
        group.add_argument(flag, nargs="*", action=_Booleans, metavar=kind.metavar, **options)
        group.add_argument("--no-" + flag[2:], dest=field.name, action="store_const",
                           const=(False,), help=f"the same as {flag} false")  # fmt: skip
    elif many or kind.metavar != "true|false":
        group.add_argument(flag, metavar=kind.metavar, **options, **nargs, **check)
    elif field.default is None:  # what the network decides if not told otherwise
        group.add_argument(flag, nargs="?", const=True, metavar=kind.metavar, **options, **check)
        group.add_argument("--no-" + flag[2:], dest=field.name, action="store_const", const=False,
                           help=f"the same as {flag} false")  # fmt: skip
    else:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, **options)


def _default_text(default: Any) -> str:
    """What --help says of a default, as people write it on the command line."""
    if default is None or default is False:
        return ""
    if default is True:
        return " (default: yes)"
    if isinstance(default, tuple) and len(default) == 1:  # of a setting with several values
        return _default_text(default[0])
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return f" (default: {shown})".replace("%", "%%")


def _read_config(file: str, known: list[str], flag: str = "--config") -> dict[str, Any]:
    """Reads a file of settings; what its values are worth the settings class says."""
    try:
        config = read_json(file)
        if not isinstance(config, dict):
            raise UserError(f"{file} must hold an object of settings; received {config!r}")
        for name in config:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise UserError(f"{file} has {name!r}, which is no setting of this command{hint}")
    except UserError as error:
        raise UserError(f"{flag}: {error}") from None
    return config


def fail(message: object, code: int = 2) -> NoReturn:
    """Says in one line what was wrong, and exits; with code 2 if the user can fix it."""
    line = textwrap.shorten(f"error: {message}", LONGEST_ERROR, placeholder=" ...")
    print(printable(line), file=sys.stderr)
    raise SystemExit(code)
