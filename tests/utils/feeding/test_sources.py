"""What gives the images of a data set, in memory or on disk."""

import dataclasses

import keras
import numpy as np
import pytest

from utils.config.settings import TrainSettings
from utils.data.dataset import Dataset
from utils.data.images.image_files import ImageFiles
from utils.data.pixel_statistics import pixel_statistics
from utils.feeding.in_memory import InMemory
from utils.feeding.on_disk import STATISTICS_IMAGES, OnDisk
from utils.feeding.sources import image_source, refuse_settings_of_others
from utils.system.errors import UserError
from utils.training.setup import build_network


def make_dataset(images):
    labels = np.arange(len(images)) % 2
    return Dataset("mine", images, labels, images, labels, ("a", "b"), crop_padding=1, flips=True)


def test_the_source_is_that_of_the_images(tmp_path):
    in_memory = make_dataset(np.zeros((4, 6, 5, 3), "uint8"))
    on_disk = make_dataset(ImageFiles([tmp_path / "nowhere.png"] * 4, 16))
    assert type(image_source(in_memory)) is InMemory
    assert type(image_source(on_disk)) is OnDisk


def test_settings_of_another_source_are_refused(tmp_path):
    in_memory = image_source(make_dataset(np.zeros((4, 6, 5, 3), "uint8")))
    on_disk = image_source(make_dataset(ImageFiles([tmp_path / "nowhere.png"] * 4, 16)))
    with pytest.raises(UserError, match="workers is for data in a folder, not for mine; received"):
        refuse_settings_of_others(TrainSettings(workers=1), in_memory)
    with pytest.raises(UserError, match="cutout is for data in memory, not for mine; received 4"):
        refuse_settings_of_others(TrainSettings(cutout=4), on_disk)
    refuse_settings_of_others(TrainSettings(workers=1), on_disk)
    refuse_settings_of_others(TrainSettings(cutout=4), in_memory)


@pytest.mark.parametrize(
    ("data_format", "shape"),
    [("channels_last", (None, 16, 16, 3)), ("channels_first", (None, 3, 16, 16))],
)
def test_no_image_is_read_for_its_shape(data_format, shape, tmp_path, without_values):
    """Networks are built although the files do not exist."""
    keras.config.set_image_data_format(data_format)
    data = make_dataset(ImageFiles([tmp_path / "nowhere.png"] * 4, 16))
    settings = TrainSettings(depth=8, attention="none")
    pixels, images = image_source(data).images(settings, fill=np.zeros(3))
    assert pixels.shape == images.shape == shape
    network = build_network(settings, data, np.zeros(3), np.ones(3))
    assert network.input_shape == shape
    assert image_source(data).data_defaults(settings) == {"image_size": 16, "batch_size": 8}


def test_statistics_are_those_of_the_images(folder_dataset):
    indices = np.arange(0, 24, 2)
    mean, variance = pixel_statistics(image_source(folder_dataset).images_for_statistics(indices))
    pixels = np.stack([folder_dataset.x_train[i] for i in indices]).reshape(-1, 3).astype(float)
    np.testing.assert_allclose(mean, pixels.mean(axis=0))
    np.testing.assert_allclose(variance, pixels.var(axis=0))
    many = ImageFiles(folder_dataset.x_train.paths * 60, 2)
    many = dataclasses.replace(folder_dataset, x_train=many)
    assert (
        len(image_source(many).images_for_statistics(np.arange(len(many.x_train))))
        == STATISTICS_IMAGES
    )
