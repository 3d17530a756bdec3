"""What every attention module costs by itself, for `python main.py list`.

    python -m benchmarks.module_costs [NAME ...] [--rounds N]

Counts and times modules on maps of three sizes, each beside a 3x3 convolution of the same map, and
writes `results/module_costs.json`. With names it measures these, and the file keeps the others;
without, it measures all, which takes some minutes.
"""

import dataclasses

from benchmarks.command import one_line_errors, parse
from utils.config.command_line import fail
from utils.config.fields import Settings, setting
from utils.config.parsing import integer, optional, several, text
from utils.system.backend import choose_backend


@dataclasses.dataclass(frozen=True)
class CostsSettings(Settings):
    names: tuple[str, ...] | None = setting(
        None, optional(several(text)), "modules; all if not given", many=True, positional=True
    )
    rounds: int = setting(10, integer(1), "how often each is timed")


@one_line_errors
def main():
    settings = parse(CostsSettings, "module_costs", __doc__)
    choose_backend()
    from utils.evaluation.module_costs import measure_module_costs

    try:
        measure_module_costs(settings.names or (), settings.rounds)
    except ValueError as error:
        fail(error)


if __name__ == "__main__":
    main()
