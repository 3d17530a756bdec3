"""The attention modules, one file per family; `models.attention_module` is the public face."""

from . import identity  # noqa: F401  (a model with it loads wherever any attention does)
