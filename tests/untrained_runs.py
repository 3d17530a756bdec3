"""Run folders for tests, made in no time."""

from models.saving import save_model
from utils.data import pixel_statistics
from utils.files import write_json
from utils.settings import TrainSettings
from utils.training_model import build_network


def write_run(folder, dataset, data_dir=None, **options):
    """A run's folder as `explain` and `demo` need it, with a network that was not trained."""
    settings = TrainSettings(
        **{"dataset": dataset.name, "data_dir": data_dir, "depth": 8, **options}
    )
    folder.mkdir(parents=True)
    write_json(folder / "config.json", settings.config())
    network = build_network(settings, dataset, *pixel_statistics(dataset.x_train))
    save_model(network, folder / "best.keras")
    return folder
