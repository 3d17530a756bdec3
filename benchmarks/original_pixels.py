"""What the JPEG copy of CIFAR-10 costs: accuracy on the same test images in both.

    python -m benchmarks.original_pixels --copy DIR --original DIR

Evaluates the networks of `list_weights()` on the test images that both folders have, and writes
`results/original_pixels.json`. Compressed images are matched with the nearest original ones.
"""

import dataclasses
from pathlib import Path

from benchmarks.command import needed, one_line_errors, parse
from utils.config.fields import Settings, setting
from utils.config.parsing import path
from utils.system.backend import choose_backend
from utils.system.files import write_json

PATH = Path(__file__).parents[1] / "results" / "original_pixels.json"


@dataclasses.dataclass(frozen=True)
class PixelsSettings(Settings):
    copy: str = setting(None, needed(path), "folder with the JPEG copy of CIFAR-10")
    original: str = setting(None, needed(path), "folder with original images of it")


@one_line_errors
def main():
    settings = parse(PixelsSettings, "original_pixels", __doc__)
    choose_backend()
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    from models.pretrained import list_weights, trained_model
    from utils.data.data_format import in_data_format
    from utils.data.datasets import load_dataset
    from utils.runs.predictions import in_batches

    copy, original = (load_dataset("cifar10", d) for d in (settings.copy, settings.original))
    flat = [np.asarray(data.x_test, "float32").reshape(len(data.x_test), -1)
            for data in (copy, original)]  # fmt: skip
    nearest = NearestNeighbors(n_neighbors=1).fit(flat[0]).kneighbors(flat[1])[1][:, 0]
    if len(set(nearest)) < len(nearest) or (copy.y_test[nearest] != original.y_test).any():
        raise SystemExit("the folders do not have the same test images")
    found = {}
    for name in list_weights():
        network = trained_model(name)
        found[name] = {"images": len(nearest)}
        for kind, images in (("copy", copy.x_test[nearest]), ("original", original.x_test)):
            predicted = in_batches(network.predict_on_batch, in_data_format(images), 500)
            found[name][kind] = float((predicted.argmax(-1) == original.y_test).mean())
        print(name, found[name], flush=True)
    write_json(PATH, found)


if __name__ == "__main__":
    main()
