"""Parameters and multiply-adds of every published variant, for `python main.py list`.

    python -m benchmarks.model_sizes [ARCHITECTURE...]

Builds the networks (all of them: a few minutes) and writes `results/model_sizes.json`.
"""

import dataclasses

from benchmarks.command import one_line_errors, parse
from models import list_models
from utils.config.fields import Settings, setting
from utils.config.parsing import choice, optional, several
from utils.system.backend import choose_backend


@dataclasses.dataclass(frozen=True)
class SizesSettings(Settings):
    architectures: tuple[str, ...] | None = setting(
        None,
        optional(several(choice(*list_models()))),
        "the architectures to measure; other rows are kept; all if not given",
        many=True,
        positional=True,
    )


@one_line_errors
def main():
    settings = parse(SizesSettings, "model_sizes", __doc__)
    choose_backend()
    from utils.evaluation.listing import measure_sizes

    measure_sizes(settings.architectures)


if __name__ == "__main__":
    main()
