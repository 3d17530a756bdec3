"""What `fit` is given: the same batches, read again in every epoch."""

import keras
import numpy as np
import pytest

from utils.feeding.epoch_batches import EpochBatches
from utils.system.backend_batches import keras_input

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="others take the batches as they are"
)


def batches():
    return EpochBatches(
        np.arange(22), np.arange(22) % 3, 4, (8, 8), shuffle=True, crop_padding=2, flip=True
    )


@on_tensorflow
def test_batches_are_read_again_in_every_epoch():
    wanted = batches()
    data = keras_input(wanted)
    assert int(data.cardinality()) == 5
    for epoch in (0, 3):
        wanted.start_epoch(epoch)
        found = list(data.as_numpy_iterator())
        assert len(found) == 5
        for number, (inputs, labels) in enumerate(found):
            own_inputs, own_labels = wanted[number]
            np.testing.assert_array_equal(labels, own_labels)
            assert inputs.keys() == own_inputs.keys()
            for name, values in inputs.items():
                np.testing.assert_array_equal(values, own_inputs[name])


@on_tensorflow
def test_autotuning_is_off():
    assert keras_input(batches()).options().autotune.enabled is False


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow has its own way")
def test_other_backends_take_them_as_they_are():
    own = batches()
    assert keras_input(own) is own


def test_without_a_validation():
    assert keras_input(None) is None
