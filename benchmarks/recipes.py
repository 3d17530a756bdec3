"""What a recipe costs: a training step with Muon as a multiple of one with SGD.

    python -m benchmarks.recipes [--networks resnet20,mobilenet] [--precision mixed_bfloat16]

Trains as `main.py` does, on random images of CIFAR-10's shape, with each recipe in turn. Prints the
median over the rounds.
"""

import dataclasses

from benchmarks.command import one_line_errors, parse
from benchmarks.networks import NETWORKS, OTHERS
from benchmarks.training import our_loop, random_dataset
from utils.config.fields import Settings, setting
from utils.config.parsing import choice, integer, several
from utils.config.recipes import DEFAULT_RECIPE, PLAIN, recipe_settings
from utils.system.backend import choose_backend
from utils.system.timing import ratios, time_in_turn

OF_SMALL_IMAGES = {
    name: timed for name, timed in {**NETWORKS, **OTHERS}.items() if timed.side == 32
}


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    networks: tuple[str, ...] = setting(
        "resnet20,mobilenet", several(choice(*OF_SMALL_IMAGES)), "networks, with commas"
    )
    precision: str = setting(
        "mixed_bfloat16", choice("float32", "mixed_bfloat16"), "precision to compute in"
    )
    rounds: int = setting(9, integer(1), "rounds in which every recipe runs once")
    steps: int = setting(10, integer(1), "training steps in a round")


@one_line_errors
def main():
    settings = parse(BenchSettings, "recipes", __doc__)
    choose_backend()
    import keras

    keras.config.set_dtype_policy(settings.precision)
    for name in settings.networks:
        timed = OF_SMALL_IMAGES[name]
        dataset = random_dataset(timed.batch)
        loops = {
            recipe: our_loop(
                dataset,
                settings.steps,
                timed.batch,
                **recipe_settings(recipe),
                **timed.options,
                model=timed.model,
                attention="none",
                precision=settings.precision,
            )[0]
            for recipe in (PLAIN, DEFAULT_RECIPE)
        }
        times = ratios(time_in_turn(loops, settings.rounds), PLAIN)
        print(
            f"{name}: a step with {DEFAULT_RECIPE} takes {times[DEFAULT_RECIPE]:.3f} x {PLAIN}'s",
            flush=True,
        )


if __name__ == "__main__":
    main()
