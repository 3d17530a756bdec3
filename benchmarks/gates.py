"""What the gates of attention do in the first steps of a training, and at its end.

    python -m benchmarks.gates --data-dir DIR [--steps 0 10 100 1000] [--runs RUN...]

Trains ResNet20 on CIFAR-10 with the default recipe, once for each form of CBAM, and stops after the
last of these steps. Adds the networks of finished runs, and writes `results/gates.json` and
`docs/images/gates.png`.
"""

import argparse
import json
from pathlib import Path

from utils.system.backend import choose_backend

ROOT = Path(__file__).parents[1]
FORMS = ("none", "cbam_block", "cbam_block(start='half')", "cbam_block(start='identity')")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="folder with CIFAR-10")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 10, 100, 1000])
    parser.add_argument("--forms", nargs="*", default=FORMS, help="modules to train with")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="finished runs")
    arguments = parser.parse_args()
    choose_backend()
    from utils.explain.gates import gates_of_run, gates_while_training
    from utils.plots.gates import plot_gates

    path = ROOT / "results" / "gates.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for form in arguments.forms:
        found.setdefault(form, {}).update(
            gates_while_training(form, arguments.steps, arguments.data_dir)
        )
        path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    for run in arguments.runs:
        form, gates = gates_of_run(run, arguments.data_dir)
        found.setdefault(form, {})["end"] = gates
        path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    plot_gates(ROOT / "docs" / "images" / "gates.png", found)


if __name__ == "__main__":
    main()
