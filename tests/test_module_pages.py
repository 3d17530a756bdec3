"""The pages of the modules: written from the layers as they are, and of every module."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks import module_pages
from benchmarks.diagrams import Fork, draw, parse
from models.attention.catalog import CATALOG

pytestmark = pytest.mark.once

DOCS = Path(__file__).parent.parent / "docs"
CONTENT = module_pages.content()
AGAIN = "python -m benchmarks.module_pages"


@pytest.mark.parametrize("name", CATALOG)
def test_the_page_is_what_the_generator_writes(name):
    text = (module_pages.PAGES / f"{name}.md").read_text("utf-8")
    assert text == module_pages.page(name, CONTENT[name]), AGAIN


def test_every_module_has_a_page_and_nothing_else_has():
    assert sorted(CONTENT) == sorted(CATALOG)
    assert all(written.keys() == {"diagram", "formula", "when"} for written in CONTENT.values())
    names = {f"{name}{ending}" for name in CATALOG for ending in (".md", ".svg")}
    assert {path.name for path in module_pages.PAGES.iterdir()} == names
    table = (DOCS / "modules.md").read_text("utf-8")
    assert set(re.findall(r"\[`(\w+)`\]\(modules/\1\.md\)", table)) == {*CATALOG}
    gallery = (DOCS / "gallery.md").read_text("utf-8")
    assert set(re.findall(r"\(modules/(\w+)\.svg\)\]\(modules/\1\.md\)", gallery)) == {*CATALOG}
    api = (DOCS / "api" / "attention.md").read_text("utf-8")
    for name in CATALOG:
        page = (module_pages.PAGES / f"{name}.md").read_text("utf-8")
        anchors = re.findall(r"api/attention\.md#([\w.]+)", page)
        assert anchors
        assert all(f"::: {anchor}\n" in api for anchor in anchors)


@pytest.mark.parametrize("name", CATALOG)
def test_the_diagram_is_what_the_generator_writes(name):
    text = (module_pages.PAGES / f"{name}.svg").read_text("utf-8")
    assert text == draw(CONTENT[name]["diagram"], f"Diagram of {name}"), AGAIN
    picture = ElementTree.fromstring(text)
    width, height = (float(picture.get(side)) for side in ("width", "height"))
    assert width <= 720  # a page shows no more without shrinking it
    boxes = [box for box in boxes_of(picture) if box[2] < width]
    for x, y, box_width, box_height in boxes:
        assert x >= 0
        assert y >= 0
        assert x + box_width <= width
        assert y + box_height <= height
    for number, box in enumerate(boxes):
        assert not any(overlap(box, other) for other in boxes[:number])


def boxes_of(picture):
    for box in picture.iter("{http://www.w3.org/2000/svg}rect"):
        if not box.get("width").endswith("%"):
            yield tuple(float(box.get(side)) for side in ("x", "y", "width", "height"))


def overlap(one, other):
    return all(
        one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2]
        for axis in (0, 1)
    )


def test_a_diagram_is_read_as_chains_and_branches():
    chain = parse("{ ; mean [C] -> { a ; b } concat } ×\n-> ReLU")
    assert chain == [Fork([[], ["mean [C]", Fork([["a"], ["b"]], "concat")]], "×"), "ReLU"]
    with pytest.raises(ValueError, match="nothing that it closes"):
        parse("mean } ×")


def test_arrows_of_branches_end_at_their_join():
    """The sign is below the map's own line, which is straight, and the branch comes from beside."""
    picture = draw("{ ; sigmoid } ×", "a gate")
    x, y = map(float, re.search(r'<circle cx="(\S+)" cy="(\S+)"', picture).groups())
    paths = re.findall(r'<path d="([^"]*)"', picture)
    assert any(path.startswith(f"M{x:g} ") and f"V{y - 13:g} m" in path for path in paths)
    assert any(f"V{y:g} H{x + 13:g} m" in path for path in paths)


def test_options_are_those_of_the_layer():
    page = (module_pages.PAGES / "cbam_block.md").read_text("utf-8")
    assert (
        "| `ratio` | `8`; the paper's is 16 | reduction of the channel MLP's hidden layer: " in page
    )
    assert "| `descriptor` | `('avg', 'max')` | " in page
    assert "`data_format`, `kernel_initializer`" in page
