"""What every attention module costs by itself, for `python main.py list`.

    python -m benchmarks.module_costs [--rounds N]

Counts and times all modules on maps of three sizes (some minutes), each beside a 3x3 convolution of
the same map, and writes `results/module_costs.json`.
"""

import argparse

from utils.system.backend import choose_backend


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="how often each is timed")
    rounds = parser.parse_args().rounds
    choose_backend()
    from utils.evaluation.module_costs import measure_module_costs

    measure_module_costs(rounds)


if __name__ == "__main__":
    main()
