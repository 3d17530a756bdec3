"""Parameters and multiply-adds of every published variant, for `python main.py list`.

    python -m benchmarks.model_sizes [ARCHITECTURE...]

Builds the networks (all of them: a few minutes) and writes `results/model_sizes.json`.
"""

import argparse

from models import list_models
from utils.system.backend import choose_backend


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "architectures",
        nargs="*",
        help="the architectures to measure; other rows are kept; all if not given",
    )
    names = parser.parse_args().architectures
    if unknown := sorted({*names} - {*list_models()}):
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(list_models())}")
    choose_backend()
    from utils.evaluation.listing import measure_sizes

    measure_sizes(names)


if __name__ == "__main__":
    main()
