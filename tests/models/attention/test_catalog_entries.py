"""The catalog of modules agrees with the modules, and the page with the catalog."""

import re
from pathlib import Path

import pytest

from models.attention.catalog import CATALOG
from models.attention.registry import _LAYERS
from models.attention_module import list_attention

pytestmark = pytest.mark.once

PAGE = (Path(__file__).parents[3] / "docs" / "modules.md").read_text("utf-8")


def rows():
    """The cells of the page's table, by every block that a row names."""
    found = {}
    for line in PAGE.splitlines():
        if line.startswith("| [`"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            for name in re.findall(r"`([a-z_]+)`", cells[0]):
                found[name] = cells
    return found


def test_it_has_every_module():
    ours = [name for name in list_attention() if _LAYERS[name].__module__.startswith("models.")]
    assert sorted(CATALOG) == ours


@pytest.mark.parametrize("name", CATALOG)
def test_a_family_is_the_folder_of_its_layer(name):
    assert _LAYERS[name].__module__.split(".")[2] == CATALOG[name].family


@pytest.mark.parametrize("name", CATALOG)
def test_the_page_says_the_same(name):
    cells = rows()[name]
    entry = CATALOG[name]
    if entry.paper.startswith("https://arxiv.org"):
        assert entry.paper in cells[1] or cells[1] == "the same"
        years = re.findall(r"abs/(\d\d)\d\d\.", cells[1])
        assert f"{entry.year - 2000}" in years or cells[1] == "the same"
