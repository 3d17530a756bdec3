"""Python in processes of its own, started in the folder of the project."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
KILLED = ROOT / "tests" / "killed_training.py"


def python(script):
    """The command that runs a script, which says at once what it says."""
    return [sys.executable, "-u", "-c", script]


def start_python(*words, environment=None, **options):
    """Starts a script with its arguments; returns a `subprocess.Popen` of text on pipes."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        text=True,
        **{**pipes, **options},
    )


def run_python(*words, **environment):
    """Runs a script to its end; returns a `subprocess.CompletedProcess`."""
    process = start_python(*words, environment=environment)
    said, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, said, errors)


def run_program(*arguments, **environment):
    """Runs `main.py`."""
    return run_python("main.py", *arguments, **environment)


def run_killed(*arguments, at=0, count="/dev/null", **environment):
    """Runs `main.py` until it kills itself at an event; returns what it said."""
    done = run_python(KILLED, at, count, *arguments, **environment)
    assert done.returncode == (-signal.SIGKILL if at else 0), done.stderr
    return done.stdout
