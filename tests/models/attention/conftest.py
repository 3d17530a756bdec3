"""Which tests of the catalog run on every backend: a reference of each module, or of some."""

from pathlib import Path

import keras
import pytest

# JAX compiles every operation by itself, which takes most of a minute for many modules: one each of
# the families
ON_JAX = (
    "test_coordinate.py",
    "test_gather_excite.py",
    "test_non_local.py",
    "test_scse.py",
    "test_selective_kernel.py",
)


def pytest_collection_modifyitems(items):
    on_jax = keras.backend.backend() == "jax"
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        numbers = "equals" in item.originalname
        first = not hasattr(item, "callspec") or not any(item.callspec.indices.values())
        if not (numbers and first) or (on_jax and item.path.name not in ON_JAX):
            item.add_marker(pytest.mark.once)
