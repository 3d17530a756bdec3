"""Where a result comes from: when, by which command, with which code, on which machine."""

import datetime
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from .backend import device, threads

CHECKOUT = Path(__file__).parents[2]
SECONDS_FOR_GIT = 5


def provenance() -> dict[str, Any]:
    """Returns what a result should be quoted with, as JSON can hold it.

    Returns:
        A dictionary: `date` (UTC), `command`, `commit` of the checkout (`-dirty` if files differ
        from it; `None` outside of a checkout), and `hardware`.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "commit": _commit(),
        "hardware": {
            "device": device(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": threads(),
        },
    }


def _commit() -> str | None:
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_FOR_GIT)
    except (OSError, subprocess.TimeoutExpired):  # no git, or a checkout on a slow disk
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _processor() -> str:
    """The processor's name: on Linux, Python knows its architecture alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())
