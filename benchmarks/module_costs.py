"""What every attention module costs by itself, for `python main.py list`.

    python -m benchmarks.module_costs [NAME ...] [--rounds N]

Counts and times modules on maps of three sizes, each beside a 3x3 convolution of the same map, and
writes `results/module_costs.json`. With names it measures these, and the file keeps the others;
without, it measures all, which takes some minutes.
"""

import argparse

from utils.system.backend import choose_backend


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="how often each is timed")
    parser.add_argument("names", nargs="*", metavar="NAME", help="modules; all if not given")
    args = parser.parse_args()
    choose_backend()
    from utils.evaluation.module_costs import measure_module_costs

    try:
        measure_module_costs(args.names, args.rounds)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
