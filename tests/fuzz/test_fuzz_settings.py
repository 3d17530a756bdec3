"""Configs and flags of any content: settings that are right, or one line on standard error."""

import json

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.fuzz.cases import NUMBERS, VALUES, WORDS, cases, damaged, outcome
from utils.config.command_line import fail, parse_settings
from utils.config.command_settings import EvaluateSettings, ProfileSettings
from utils.config.compare_settings import CompareSettings
from utils.config.settings import TrainSettings
from utils.runs.run_folder import read_config
from utils.system.errors import UserError

pytestmark = pytest.mark.once

FIELDS = sorted({**TrainSettings.__dataclass_fields__, **CompareSettings.__dataclass_fields__})
FLAGS = [f"--{name.replace('_', '-')}" for name in [*FIELDS, "config"]]
GOOD = {"model": "resnet_v1", "depth": 56, "dataset": "digits", "attention_at": ["block"]}
KEYS = st.sampled_from([*FIELDS, "config", "help", "__class__", "$schema", "a.b"]) | WORDS
NESTED = st.builds(
    lambda key, start, times, end: f"{{{json.dumps(key)}: {start * times}1{end * times}}}",
    KEYS,
    st.sampled_from(["[", '{"depth":', '{"a":[']),
    st.integers(1, 1100) | st.just(10**5),
    st.sampled_from(["]", "}", "]}", ""]),
)
CONFIGS = st.one_of(
    st.lists(st.tuples(KEYS, VALUES), max_size=5).map(dict).map(json.dumps).map(str.encode),
    st.tuples(KEYS, VALUES).map(lambda pair: json.dumps({**GOOD, pair[0]: pair[1]}).encode()),
    damaged(json.dumps(GOOD).encode()),
    VALUES.map(json.dumps).map(str.encode),
    NESTED.map(str.encode),
    st.binary(max_size=200),
)


def parse(settings_class, arguments, capsys):
    """As the program does it; what is refused is refused in one line."""
    code = None
    try:
        settings = parse_settings(settings_class, arguments, "main.py", "")
    except UserError as error:
        with pytest.raises(SystemExit):
            fail(error)
        code = 2
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    if code is None:
        assert settings_class(**vars(settings)) == settings
        return settings
    if code == 0:
        assert said.out.startswith("usage")
    else:
        assert code == 2
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        assert said.err[:-1].isprintable()
    raise UserError(said.err)


@cases(150)
@hypothesis.given(content=CONFIGS)
def test_config(content, tmp_path_factory, capsys):
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    path.write_bytes(content)
    outcome(lambda: parse(TrainSettings, ["--config", str(path)], capsys))
    outcome(lambda: parse(CompareSettings, ["--config", str(path)], capsys))


@cases(100)
@hypothesis.given(
    settings_class=st.sampled_from(
        [TrainSettings, CompareSettings, EvaluateSettings, ProfileSettings]
    ),
    arguments=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(FLAGS), st.sampled_from(["8", "none", "block", "0.5"])),
            st.tuples(st.sampled_from(FLAGS), NUMBERS.map(str) | WORDS),
            st.builds("{}={}".format, st.sampled_from(FLAGS), NUMBERS.map(str) | WORDS).map(list),
            st.sampled_from(["--no-augment", "--", "-", "-1", "--config={}", "--help", "8"]).map(
                lambda word: [word]
            ),
        ),
        max_size=3,
    ).map(lambda groups: [word for group in groups for word in group]),
)
def test_flags(settings_class, arguments, capsys):
    outcome(lambda: parse(settings_class, arguments, capsys))


@cases(100)
@hypothesis.given(content=CONFIGS)
def test_config_of_a_run(content, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "fuzzed-run"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(content)
    config = outcome(lambda: read_config(folder))
    assert config is None or isinstance(config["dataset"], str)
