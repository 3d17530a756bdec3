"""What there is to choose from."""

from pathlib import Path

from models import list_models
from models.attention_module import list_attention

from .data import DATASETS

CONFIGS = Path(__file__).parent.parent / "configs"


def listing():
    """Returns the names of architectures, attention modules, data sets and configs, as text."""
    groups = {
        "models": list_models(),
        "attention": [*list_attention(), "none"],
        "datasets": DATASETS,
        "configs": sorted(f"configs/{path.name}" for path in CONFIGS.glob("*.json")),
    }
    return "\n".join(f"{name + ':':<11}{', '.join(names)}" for name, names in groups.items())
