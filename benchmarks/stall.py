"""Why MobileNet with CBAM as published can learn nothing: its blocks in the first steps.

    python -m benchmarks.stall --data-dir DIR [--steps 0 50 100 200 400 800]

Begins runs of `configs/results/cifar10-mobilenet-15epochs.json`, and stops them after the last of
these steps. Writes `results/stall.json` and `docs/images/stall.png`.
"""

import argparse
import json
from pathlib import Path

from benchmarks.command import one_line_errors
from utils.config.parsing import integer, path
from utils.system.backend import choose_backend
from utils.system.files import write_json

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "results" / "cifar10-mobilenet-15epochs.json"
RUNS = {
    "published, seed 0": {"attention": "cbam_block", "seed": 0},
    "published, seed 1": {"attention": "cbam_block", "seed": 1},
    "published, a quarter of the rate, seed 1": {
        "attention": "cbam_block",
        "seed": 1,
        "attention_rate": 0.25,
    },
    "gates at one, seed 1": {"attention": "cbam_block(start='identity')", "seed": 1},
}


@one_line_errors
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, type=path, help="folder with CIFAR-10")
    parser.add_argument("--steps", type=integer(0), nargs="+", default=[0, 50, 100, 200, 400, 800])
    arguments = parser.parse_args()
    choose_backend()
    from utils.explain.blocks import blocks_while_training
    from utils.plots.blocks import plot_blocks

    settings = json.loads(CONFIG.read_text("utf-8"))
    found = {}
    for name, changes in RUNS.items():
        run = {**settings, **changes}
        found[name] = blocks_while_training(arguments.steps, arguments.data_dir, **run)
        write_json(ROOT / "results" / "stall.json", found)
    plot_blocks(ROOT / "docs" / "images" / "stall.png", found)


if __name__ == "__main__":
    main()
