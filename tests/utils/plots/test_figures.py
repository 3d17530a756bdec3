"""Titles and labels of figures: names of runs can be long."""

import pytest

from utils.plots.figures import two_panels, wrapped_title

pytestmark = pytest.mark.once


@pytest.mark.parametrize(("characters", "lines"), [(0, 1), (90, 1), (91, 2), (250, 3)])
def test_a_long_title_is_broken_and_has_room(characters, lines):
    figure, _ = two_panels(False, wide=(9, 4), narrow=(4, 5))
    title = wrapped_title(figure, "x" * characters)
    assert title.replace("\n", "") == "x" * characters
    assert title.count("\n") == lines - 1
    assert figure.get_size_inches() == pytest.approx([9, 4 + 0.2 * (lines - 1)])
