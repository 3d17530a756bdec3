"""Packs the networks of finished runs on CIFAR-10 for `weights="cifar10"`.

    python -m benchmarks.pack_weights RUN... [--data-dir DIR]

Writes them to `models/trained/` as float16, and evaluates each as it is packed.
"""

import argparse
from pathlib import Path

from utils.system.backend import choose_backend


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    parser.add_argument("--data-dir", help="folder with CIFAR-10; each run's own if not given")
    arguments = parser.parse_args()
    choose_backend()
    from utils.evaluation.packing import pack_weights

    pack_weights(arguments.runs, arguments.data_dir)


if __name__ == "__main__":
    main()
