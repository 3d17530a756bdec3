"""Fast forms: layers computed in less time, with the same results.

`install` puts an object in the place of one method of a layer, such as its `call`. At every call
the object tries the forms that `registry.py` lists for the layer, and where none applies it calls
the method of the layer's class. The layer keeps its class, configuration and weights, so nothing
that is saved changes. `docs/fast.md` follows one residual block through the forms.

Attention layers have their forms from when they are made, as `models/attention_module.py` connects
`install` to them. Other layers have them in the models of `build_model`, `add_attention` and
`load_model`, and wherever `install` is called.
"""

from .conditions import for_any_size
from .installation import install, is_installed, remove
from .methods import SWITCH, Form, disabled, is_switched_on, recorded
from .registry import FORMS

__all__ = [
    "FORMS",
    "SWITCH",
    "Form",
    "disabled",
    "for_any_size",
    "install",
    "is_installed",
    "is_switched_on",
    "recorded",
    "remove",
]
