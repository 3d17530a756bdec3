"""The demo's HTML: what changed, and where, in words."""

import dataclasses

import numpy as np
import pytest

from utils.demo.explainer import ImageExplanation, Query
from utils.demo.rendering import render
from utils.explain.attention_maps import AttentionMaps
from utils.explain.selection import SelectedImage

pytestmark = pytest.mark.once

CLASSES = tuple("abcdefgh")


def explanation(name, probabilities, bright, target=None):
    """An explanation whose Grad-CAM is bright at one of 3x3 positions."""
    image = SelectedImage("image", np.zeros((6, 6, 3), "uint8"), 1)
    cam = np.zeros((3, 3))
    cam[bright] = 1
    probabilities = np.array([*probabilities, *[0] * (8 - len(probabilities))])
    target = int(probabilities.argmax()) if target is None else target
    return ImageExplanation(name, Query(image, target, (3, 3)), probabilities, target, cam, None)


def test_changes_are_relative_to_the_reference():
    before = explanation("x", [0.6, 0.3, 0.1], (0, 0))
    now = explanation("y", [0.2, 0.7, 0.1], (2, 1))
    page = render([now], [before], "network x", CLASSES)
    assert "b, 70.0%: right ✓" in page
    assert "Differs from network x: a, 60.0%" in page
    for change in ("+40.0", "-40.0", "+0.0"):
        assert f"<td>{change}</td>" in page
    assert "Grad-CAM of y for b at 3×3: strongest at the lower" in page
    assert "relative to network x: higher at the lower, lower at the upper left" in page
    assert page.count("<figure>") == 2


def test_without_a_reference():
    page = render([explanation("x", [0.6, 0.3, 0.1], (1, 1))], [None], "network x", CLASSES)
    assert "a, 60.0%: wrong ✗, it is b" in page
    assert "strongest at the center" in page
    assert "relative" not in page
    assert "Differs" not in page
    assert page.count("<figure>") == 1


def test_the_explained_class_is_in_the_table():
    shares = [0.3, 0.2, 0.2, 0.15, 0.1, 0.05]
    rows = render([explanation("x", shares, (0, 2), 7)], [None], "", CLASSES).count("<tr><th")
    assert rows == 1 + 5 + 1  # the head, five classes, and the explained one
    assert render([explanation("x", shares, (0, 2), 1)], [None], "", CLASSES).count("<tr><th") == 6


def test_branches_are_named():
    shares = {"branch1": np.array([[0.25, 0.5]]), "branch2": np.array([[0.75, 0.5]])}
    maps = AttentionMaps("layer", (3, 3), None, None, shares)
    shown = dataclasses.replace(explanation("x", [0.6, 0.4], (1, 1)), attention=maps)
    page = render([shown], [None], "", CLASSES)
    assert page.count("<figure>") == 1 + 2
    assert "Channel attention of x at 3×3: shares of branch1 from 0.25 to 0.50" in page
    assert "Channel attention of x at 3×3: shares of branch2 from 0.50 to 0.75" in page
