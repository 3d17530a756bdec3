"""Packs the networks of finished runs on CIFAR-10 for `weights="cifar10"`.

    python -m benchmarks.pack_weights RUN... [--data-dir DIR]

Writes them to `models/trained/` as float16, and evaluates each as it is packed.
"""

import dataclasses
from pathlib import Path

from benchmarks.command import one_line_errors, parse
from utils.config.fields import Settings, setting
from utils.config.parsing import optional, path, run_folder, several
from utils.system.backend import choose_backend


@dataclasses.dataclass(frozen=True)
class PackSettings(Settings):
    runs: tuple[str, ...] = setting(
        dataclasses.MISSING, several(run_folder), "folders of finished runs", many=True
    )
    data_dir: str | None = setting(
        None, optional(path), "folder with CIFAR-10; each run's own if not given"
    )


@one_line_errors
def main():
    settings = parse(PackSettings, "pack_weights", __doc__)
    choose_backend()
    from utils.evaluation.packing import pack_weights

    pack_weights([*map(Path, settings.runs)], settings.data_dir)


if __name__ == "__main__":
    main()
