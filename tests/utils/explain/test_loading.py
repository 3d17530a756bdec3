"""The names of runs that are explained side by side."""

from pathlib import Path

import pytest

from utils.explain.loading import display_names, shorten_names

pytestmark = pytest.mark.once


def test_shorten_names():
    assert shorten_names(["a-none-seed0", "a-se_block-seed0"]) == ["none", "se_block"]
    assert shorten_names(["a-none-seed0"]) == ["a-none-seed0"]
    assert shorten_names(["a-b", "a-b-c"]) == ["a-b", "a-b-c"]
    assert shorten_names(["none-seed0", "none-seed1"]) == ["seed0", "seed1"]


def test_folders_of_the_same_name_are_told_apart_by_their_paths():
    assert display_names([Path("x/a-none"), Path("y/a-se_block")]) == ["none", "se_block"]
    assert display_names([Path("x/none"), Path("y/none")]) == ["x/none", "y/none"]
