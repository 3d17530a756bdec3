"""How long until something happens: `--help`, and the first training step of ResNet20.

    python -m benchmarks.startup [--attention none,cbam_block] [--data-dir DIR] [--rounds 3]

Whole processes, the least of several runs. The first step has ended when its checkpoint is there;
on CIFAR-10, whose reading is included, if `--data-dir` is given, and otherwise on digits.
"""

import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.command import one_line_errors, parse
from utils.config.fields import Settings, setting
from utils.config.parsing import integer, optional, several, specification, text


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    attention: tuple[str, ...] = setting(
        ("none", "cbam_block"), several(specification), "modules, with commas"
    )
    data_dir: str | None = setting(None, optional(text), "folder with CIFAR-10")
    rounds: int = setting(3, integer(1), "runs of each command")


def seconds_of_help():
    started = time.perf_counter()
    subprocess.run([sys.executable, "main.py", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def seconds_to_first_step(attention, data_dir):
    data = ["--dataset", "cifar10", "--data-dir", data_dir] if data_dir else ["--dataset", "digits"]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        command = ["main.py", *data, "--attention", attention, "--run-dir", str(run)]
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command, "--checkpoint-every", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not any(run.glob("last/epoch*")):
                if process.poll() is not None:
                    raise SystemExit(f"ended with {process.returncode}: {' '.join(command)}")
                time.sleep(0.01)
            return time.perf_counter() - started
        finally:
            process.kill()
            process.wait()


@one_line_errors
def main():
    settings = parse(BenchSettings, "startup", __doc__)
    rounds = range(settings.rounds)
    print(f"--help: {min(seconds_of_help() for _ in rounds):.2f} s")
    for name in settings.attention:
        least = min(seconds_to_first_step(name, settings.data_dir) for _ in rounds)
        print(f"first step of ResNet20, {name}: {least:.1f} s")


if __name__ == "__main__":
    main()
