"""Training speed on an accelerator, as a share of what it could do.

    KERAS_BACKEND=jax python -m benchmarks.accelerator [--batch 1024] [--peak 989] [--bytes 3.35]

Training with `main.py`'s default recipe, the images on the device, in bfloat16 and float32, several
steps per launch. `--peak` is the accelerator's bfloat16 peak in TFLOP/s and `--bytes` its memory's
rate in TB/s; the defaults are those of an H100 SXM. The first share counts two operations per
multiply-add and three passes per training step, and nothing for the optimizer; the second takes
every activation to be moved five times. A module's time is a multiple of the base network's in the
same round. Then, whole runs:

    time python main.py --model resnet_v1 --depth 20 --attention cbam_block --backend jax \
        --precision mixed_bfloat16 --batch-size 512 --epochs 40 --data-dir DIR   # aim: 92 %
    time python main.py --model resnet --depth 18 --attention cbam_block --backend jax \
        --precision mixed_bfloat16 --batch-size 512 --epochs 20 --data-dir DIR   # aim: 94 %
"""

import dataclasses

from benchmarks.command import one_line_errors, parse
from utils.config.fields import Settings, setting
from utils.config.parsing import choice, integer, number, several, specification
from utils.config.recipes import DEFAULT_RECIPE, recipe_settings
from utils.system.backend import choose_backend, device, on_accelerator
from utils.system.timing import ratios, time_in_turn

TRAINED = {
    "ResNet20": {"model": "resnet_v1", "depth": 20},
    "ResNet18": {"model": "resnet", "depth": 18},
}
STEPS = 32  # per launch, and in a round


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    attention: tuple[str, ...] = setting(
        ("none", "cbam_block"), several(specification), "modules, with commas"
    )
    precision: tuple[str, ...] = setting(
        "mixed_bfloat16,float32",
        several(choice("mixed_bfloat16", "mixed_float16", "float32")),
        "of the computation, with commas",
    )
    batch: int = setting(1024, integer(1), "images per step")
    rounds: int = setting(10, integer(1), "rounds in which every contestant runs once")
    peak: float = setting(989.0, number(0, above=True), "TFLOP/s in bfloat16")
    bytes: float = setting(3.35, number(0, above=True), "TB/s of the memory")


@one_line_errors
def main():
    settings = parse(BenchSettings, "accelerator", __doc__)
    choose_backend()
    import keras

    from benchmarks.training import our_loop, random_dataset

    if not on_accelerator():
        raise SystemExit("benchmarks.accelerator needs a GPU or TPU, and the backend found none")
    from utils.evaluation.counting import activation_bytes, multiply_adds

    data = random_dataset(), STEPS, settings.batch, STEPS
    print(f"{device()}, batch {settings.batch}, {STEPS} steps per launch")
    for precision in settings.precision:
        keras.config.set_dtype_policy(precision)
        for title, which in TRAINED.items():
            options = {**recipe_settings(DEFAULT_RECIPE), **which}
            loops = {m: our_loop(*data, **options, attention=m) for m in settings.attention}
            seconds = time_in_turn({m: run for m, (run, _) in loops.items()}, settings.rounds)
            multiples = ratios(seconds, settings.attention[0])
            for name, (_, network) in loops.items():
                rate = STEPS * settings.batch / min(seconds[name])
                operations = 6 * multiply_adds(network) * rate / (settings.peak * 1e12)
                moved = 5 * activation_bytes(network) * rate / (settings.bytes * 1e12)
                print(
                    f"{title} {name:<11}{precision:<15}{rate:10.0f} images/s"
                    f"   {multiples[name]:.2f} x {settings.attention[0]}"
                    f"   {operations:.1%} of the peak   {moved:.0%} of the memory's rate"
                )


if __name__ == "__main__":
    main()
