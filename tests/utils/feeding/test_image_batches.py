"""Batches of images on disk: their order, and the shares of several hosts."""

import numpy as np
import pytest

from tests.utils.feeding.image_batches import make_batches
from utils.feeding.image_batches import ImageAugmentation
from utils.feeding.shares import Share

pytest.importorskip("grain")


def test_an_epoch_is_a_permutation_of_its_own(folder_dataset):
    read = make_batches(folder_dataset)
    orders = [[*np.concatenate([read.samples(e, s) for s in range(3)])] for e in range(3)]
    for order in orders:
        assert len(set(order)) == 18  # the last five wait for another epoch
        assert set(order) <= set(range(1, 24))
    assert len({tuple(order) for order in orders}) == 3


def test_hosts_share_every_batch(folder_dataset):
    plain = ImageAugmentation(crop=0.2, flip=True)
    images, labels = make_batches(folder_dataset, plain)(1)
    parts = [make_batches(folder_dataset, plain, share=Share(3, 3, host))(1) for host in range(3)]
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), images)
    np.testing.assert_array_equal(np.concatenate([found for _, found in parts]), labels)
