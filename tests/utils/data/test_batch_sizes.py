"""How many images make a batch."""

import pytest

from utils.data.batch_sizes import images_per_batch

pytestmark = pytest.mark.once


def test_batches_hold_as_many_pixels_at_every_size():
    found = [images_per_batch((side, 2 * side, 3), 512) for side in (32, 112, 4096)]
    assert found == [512, 83, 1]
