"""The validation split."""

import numpy as np
import pytest

from utils.data.splits import validation_indices
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
