"""Parameters and multiply-adds of every published variant, for `python main.py list`.

    python -m benchmarks.model_sizes

Builds all networks (a few minutes) and writes `results/model_sizes.json`.
"""

from utils.system.backend import choose_backend


def main():
    choose_backend()
    from utils.evaluation.listing import measure_sizes

    measure_sizes()


if __name__ == "__main__":
    main()
