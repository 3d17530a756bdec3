"""Which tests of the catalogue run on every backend: those of the numbers."""

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        name = item.originalname
        if item.path.parent.name == "attention" and "equals" not in name and name != "test_battery":
            item.add_marker(pytest.mark.once)
