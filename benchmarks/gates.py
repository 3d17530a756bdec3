"""What the gates of attention do in the first steps of a training, and at its end.

    python -m benchmarks.gates --data-dir DIR [--steps 0 10 100 1000] [--forms MODULE...]

Trains ResNet20 on CIFAR-10 with the default recipe, once for each form of CBAM, and stops after the
last of these steps. Measures the networks of `list_weights()` too. Writes `results/gates.json` and
`docs/images/gates.png`. Without names after `--forms`, nothing is trained.
"""

import argparse
import json
from pathlib import Path

from benchmarks.command import one_line_errors
from utils.config.parsing import integer, path, specification
from utils.system.backend import choose_backend
from utils.system.files import write_json

ROOT = Path(__file__).parents[1]
NETWORK = "resnet_v1(depth=20)"
FORMS = ("none", "cbam_block", "cbam_block(start='half')", "cbam_block(start='identity')")


@one_line_errors
def main():
    # `--forms` may stand alone: a flag of `Settings` takes one word or more
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, type=path, help="folder with CIFAR-10")
    parser.add_argument("--steps", type=integer(0), nargs="+", default=[0, 10, 100, 1000])
    parser.add_argument(
        "--forms", nargs="*", type=specification, default=FORMS, help="modules to train with"
    )
    arguments = parser.parse_args()
    choose_backend()
    from models.pretrained import trained_weights
    from utils.explain.gates import gates_of_trained, gates_while_training
    from utils.plots.gates import plot_gates

    results = ROOT / "results" / "gates.json"
    found = {"steps": {}, "trained": {}}
    if results.exists():
        found = json.loads(results.read_text("utf-8"))
    for form in arguments.forms:
        gates = gates_while_training(form, arguments.steps, arguments.data_dir)
        found["steps"][form] = gates
        write_json(results, found)
    for name in trained_weights():
        found["trained"][name] = gates_of_trained(name, arguments.data_dir)
    write_json(results, found)
    ends = {
        entry.attention: {"end": found["trained"][name]}
        for name, entry in trained_weights().items()
        if entry.model == NETWORK
    }
    drawn = {form: {**steps, **ends.get(form, {})} for form, steps in found["steps"].items()}
    plot_gates(ROOT / "docs" / "images" / "gates.png", drawn)


if __name__ == "__main__":
    main()
