"""What a run must find again to continue exactly."""

import dataclasses
import os

import pytest

from utils.config.settings import TrainSettings
from utils.runs.resuming import changed_settings, check_state, environment
from utils.system.errors import UserError

pytestmark = pytest.mark.once


def test_the_number_of_threads_is_recorded_and_compared(monkeypatch):
    """With another number the backends add in another order."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64), raising=False)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    found = {}
    for threads in ("1", "2", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found[threads] = environment()
    assert [state["threads"] for state in found.values()] == [1, 2, 64]

    settings = TrainSettings()
    rest = {"config": settings.config(), "data": "a1", "progress": {"epoch": 1}}
    before, now = ({**rest, "environment": found[threads]} for threads in ("1", "2"))
    check_state(settings, before, before)
    command = "python main.py train --resume RUN --force"
    with pytest.raises(
        UserError, match=f"threads was 1, is 2; '{command}' resumes it all the same"
    ):
        check_state(settings, before, now)
    check_state(dataclasses.replace(settings, force=True), before, now)


def test_own_code_is_the_same_by_its_path_from_here_and_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    absolute = f"{tmp_path}/blocks.py:halve"

    def config(name, checksum):
        settings = TrainSettings(attention=name, code={name: checksum})
        return settings.config()

    there = config("blocks.py:halve", "a1")
    assert changed_settings(there, config(absolute, "a1")) == {}
    assert changed_settings(there, config(absolute, "b2")).keys() == {"code"}
    assert "code" in changed_settings({**there, "code": "of anybody"}, config(absolute, "a1"))
    monkeypatch.chdir(tmp_path.parent)
    assert changed_settings(there, config(absolute, "a1")).keys() == {"attention", "code"}
