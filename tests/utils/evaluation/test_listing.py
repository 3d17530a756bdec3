"""The list of published variants and their sizes."""

import json

import pytest

from models import list_models
from utils.evaluation.listing import SIZES, VARIANTS, listing, size_of

ROWS = json.loads(SIZES.read_text())


def test_every_architecture_has_a_variant():
    assert {name for name, _, _ in VARIANTS} == set(list_models())


def test_the_file_holds_every_variant():
    kept = [(row["model"], row["image"], row["classes"], row["options"]) for row in ROWS]
    wanted = [
        (name, "{}x{}".format(*image["input_shape"]), image["classes"], options)
        for name, image, options in VARIANTS
    ]
    assert kept == wanted
    for row in ROWS:
        assert row["model"] in listing()


@pytest.mark.once
@pytest.mark.parametrize("model", ["resnet_v1", "resnet_v2", "mobilenet", "densenet"])
def test_kept_sizes_are_those_of_the_networks(model):
    """The first variant of each; the others have tests against published numbers."""
    index = next(i for i, (name, _, _) in enumerate(VARIANTS) if name == model)
    assert size_of(*VARIANTS[index]) == ROWS[index]
