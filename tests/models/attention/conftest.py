"""Which tests of the catalog run on every backend: a reference of each module."""

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name != "attention":
            continue
        numbers = "equals" in item.originalname
        first = not hasattr(item, "callspec") or not any(item.callspec.indices.values())
        if not (numbers and first):
            item.add_marker(pytest.mark.once)
