"""The attention modules, one file per family; `models.attention_module` is the public face."""
