"""The validation split, and the test split of images that have none."""

import numpy as np
import pytest

from utils.data.splits import held_out_indices, validation_indices
from utils.system.errors import UserError


def test_validation_split():
    labels = np.repeat(np.arange(10), 50)
    training, validation = validation_indices(labels, 0.1, seed=3)
    assert (np.bincount(labels[validation]) == 5).all()
    assert sorted([*training, *validation]) == list(range(500))
    again = validation_indices(labels, 0.1, seed=3)
    np.testing.assert_array_equal(validation, again[1])
    assert (validation != validation_indices(labels, 0.1, seed=4)[1]).any()
    everything, nothing = validation_indices(labels, 0, seed=3)
    assert (len(everything), len(nothing)) == (500, 0)
    with pytest.raises(UserError, match=r"validation split 0\.001 of 500 images"):
        validation_indices(labels, 0.001, seed=0)


def test_a_class_with_one_image_is_named():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    message = "the class bird has one training image.*--validation-split 0"
    with pytest.raises(UserError, match=message):
        validation_indices(labels, 0.5, seed=0, class_names=("cat", "dog", "bird"))
    training, _ = validation_indices(labels, 0, seed=0, class_names=("cat", "dog", "bird"))
    assert len(training) == 8


def test_held_out_images_do_not_depend_on_their_order():
    labels = np.repeat([0, 1, 2], [10, 4, 1])
    checksums = np.array([f"{n * 7 % 15:x}" for n in range(15)])
    train, test = held_out_indices(labels, checksums, 0.2)
    assert np.bincount(labels[test], minlength=3).tolist() == [2, 1, 0]
    assert sorted([*train, *test]) == list(range(15))
    assert set(checksums[test]) == {*sorted(checksums[:10])[:2], min(checksums[10:14])}
    order = np.random.default_rng(0).permutation(15)
    _, other = held_out_indices(labels[order], checksums[order], 0.2)
    assert set(order[other]) == set(test)
