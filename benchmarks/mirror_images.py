"""What the mean over an image and its mirror image gains: `main.py evaluate NAME --flip`.

    python -m benchmarks.mirror_images --data-dir DIR

Evaluates the networks of `list_weights()` on CIFAR-10's test images, and writes
`results/mirror_images.json`.
"""

import dataclasses
from pathlib import Path

from benchmarks.command import needed, one_line_errors, parse
from utils.config.fields import Settings, setting
from utils.config.parsing import path
from utils.system.backend import choose_backend
from utils.system.files import write_json

PATH = Path(__file__).parents[1] / "results" / "mirror_images.json"


@dataclasses.dataclass(frozen=True)
class MirrorSettings(Settings):
    data_dir: str = setting(None, needed(path), "folder with CIFAR-10")


@one_line_errors
def main():
    settings = parse(MirrorSettings, "mirror_images", __doc__)
    choose_backend()
    from models.pretrained import list_weights, trained_model
    from utils.data.datasets import load_dataset
    from utils.evaluation.evaluate import evaluate

    dataset = load_dataset("cifar10", settings.data_dir)
    found = {}
    for name in list_weights():
        network = trained_model(name)
        found[name] = {
            "image": evaluate(network, dataset).accuracy,
            "both": evaluate(network, dataset, flip=True).accuracy,
        }
        print(name, found[name], flush=True)
    write_json(PATH, found)


if __name__ == "__main__":
    main()
