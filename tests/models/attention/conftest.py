"""Which tests of the catalog run on every backend: a reference of each module."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        numbers = "equals" in item.originalname
        first = not hasattr(item, "callspec") or not any(item.callspec.indices.values())
        if not (numbers and first):
            item.add_marker(pytest.mark.once)
