"""Folders of images with damaged files: all that can be read is there, or nothing."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.fuzz.cases import cases, damaged, outcome
from tests.image_folders import encoded
from utils.data.datasets import load_dataset

pytestmark = pytest.mark.once
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), "uint8")
FILES = [encoded(PIXELS, kind) for kind in ("PNG", "JPEG")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            (folder / part / name / "good.png").write_bytes(FILES[0])
    return folder


@cases(100)
@hypothesis.given(
    content=st.one_of(st.sampled_from(FILES).flatmap(damaged), st.binary(max_size=100)),
    ending=st.sampled_from(["png", "jpg", "JPEG"]),
    corrupt=st.sampled_from(["refuse", "skip"]),
)
def test_damaged_file(folder, content, ending, corrupt):
    file = folder / "train" / "cat" / f"bad.{ending}"
    file.write_bytes(content)
    said = []
    try:
        data = outcome(lambda: load_dataset("folder", folder, said.append, 8, corrupt))
        assert data is not None or corrupt == "refuse"
        if data is not None:
            assert len(data.x_train) == len(data.y_train) == (2 if said else 3)
            assert all(file.name in line for line in said)
            # what was accepted can be read, in any window
            assert data.x_train[:].shape == (len(data.x_train), 8, 8, 3)
            data.x_train.read(0, lambda width, height: (width / 3, 0, width, height / 2))
    finally:
        file.unlink()
