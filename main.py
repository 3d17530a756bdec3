"""Train and evaluate convolutional networks with attention: `python main.py --help`."""

import difflib
import sys

try:
    from utils.config.command_line import fail, parse_settings
    from utils.config.command_settings import (
        DemoSettings,
        EvaluateSettings,
        ExplainSettings,
        ExportSettings,
        ImportTorchSettings,
        ListSettings,
        PredictSettings,
        ProfileSettings,
    )
    from utils.config.compare_settings import CompareSettings
    from utils.config.settings import TrainSettings
    from utils.system.errors import Interrupted, RunError, UserError
    from utils.system.terminal import make_output_safe, printable
except ModuleNotFoundError as missing:  # outside of the virtual environment
    sys.exit(
        f"error: {missing.name} is not installed for {sys.executable}; 'make train' sets up .venv, "
        "and '.venv/bin/python main.py' runs in it"
    )


def train(settings):
    from utils.training.train import train

    run_dir, summary = train(settings)
    if summary is None:
        return  # another host's to say
    print(f"best network: {run_dir / 'best.keras'}, of epoch {summary['best_epoch']}")
    print(f"test accuracy {summary['test_accuracy']:.4f}, loss {summary['test_loss']:.4f}")


def compare(settings):
    from utils.compare.compare import compare

    run_dir = compare(settings)
    print((run_dir / "comparison.md").read_text("utf-8"))
    print(f"page with pictures: {run_dir / 'report.html'}")


def evaluate(settings):
    from utils.evaluation.evaluate import evaluate_run

    result = evaluate_run(settings.run, settings.data_dir, settings.precision, settings.flip)
    print(f"{'class':>20} accuracy")
    for name, accuracy in result.class_accuracies.items():
        print(f"{name:>20} {'no test image' if accuracy is None else f'{accuracy:.4f}'}")
    views = ", with mirror images" if settings.flip else ""
    print(
        f"test accuracy {result.accuracy:.4f}, loss {result.loss:.4f}, in {result.precision}{views}"
    )
    print(f"written: evaluation.json and confusion_matrix.png in {settings.run}")


def predict(settings):
    from utils.predict.predict import predict

    predict(settings)


def explain(settings):
    from utils.explain.explain import explain

    output, report = explain(settings)
    for name, found in report["networks"].items():
        for kind in ("deletion", "insertion") if "faithfulness" in found else ():
            score = found["faithfulness"][kind]
            error = score["standard_error"]
            print(
                f"{name}: {kind} area {score['area']:.4f}, at random {score['random_area']:.4f}, "
                f"gain {score['gain']:+.4f} "
                + ("(a single image)" if error is None else f"(standard error {error:.4f})")
            )
    scored = any("faithfulness" in found for found in report["networks"].values())
    names = ["explanation.png", *(["faithfulness.png"] if scored else [])]
    print(f"pictures: {', '.join(str(output / name) for name in names)}")


def demo(settings):
    from utils.demo.server import demo

    demo(settings)


def profile(settings):
    from utils.evaluation.profiling import COST_FORMATS, plot_format, profile

    plot_format(settings.plot)  # before the networks are timed
    say = announce if settings.format == "table" else announce_aside  # a file has costs alone
    costs = profile(settings, say)
    print(COST_FORMATS[settings.format](costs))
    if settings.plot is not None:
        from utils.plots.costs import plot_costs

        plot_costs(settings.plot, costs)
        say(f"picture: {settings.plot}")


def import_torch(settings):
    from utils.evaluation.importing import import_torch

    print(f"written: {import_torch(settings)}")


def export(settings):
    from utils.evaluation.export import export

    result = export(settings)
    print(f"written: {result.path}, {result.bytes / 2**20:.2f} MB")
    print(f"largest difference to Keras's probabilities: {result.difference:.1e}")
    for batch, ratio in result.latency.items():
        print(f"latency with batch {batch}: {ratio:.2g} x that of Keras")
    if result.accuracy is not None:
        print(f"test accuracy {result.keras_accuracy:.4f} before, {result.accuracy:.4f} after")


def list_names(settings):
    from utils.evaluation.listing import listing

    print(listing())


# command -> (the function that does it, its settings, what it does)
COMMANDS = {
    "train": (train, TrainSettings, "train a network, then evaluate it once on the test set"),
    "compare": (compare, CompareSettings, "train with several modules and seeds, and compare"),
    "evaluate": (evaluate, EvaluateSettings, "evaluate the best network of a run again"),
    "predict": (predict, PredictSettings, "say what trained networks see in image files"),
    "explain": (explain, ExplainSettings, "show what trained networks look at, and score it"),
    "demo": (demo, DemoSettings, "show trained networks at work, on a page in the browser"),
    "export": (export, ExportSettings, "write a run's network as a file for another runtime"),
    "profile": (profile, ProfileSettings, "compare the costs of attention modules in a network"),
    "import-torch": (import_torch, ImportTorchSettings, "convert a PyTorch ResNet to Keras"),
    "list": (
        list_names,
        ListSettings,
        "list networks, attention modules, data sets and trained weights",
    ),
}
TRAINING = ("train", "compare")  # commands that people watch from their first second on


def announce(line):
    print(line, flush=True)  # a pipe would hold it back until there are more


def announce_aside(line):
    print(line, file=sys.stderr)


def announcer(command, settings):
    """What says that Keras is loading: it takes seconds, in which people watch a terminal."""
    if getattr(settings, "host_id", None):
        return None  # of several hosts, the first one speaks
    if command in TRAINING:
        return announce
    return announce_aside if sys.stderr.isatty() else None


def main(arguments):
    command = "train"
    if arguments and not arguments[0].startswith("-"):
        command, *arguments = arguments
    if command not in COMMANDS:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        if command == "resume":
            hint = "; 'main.py train --resume RUN' continues a run"
        fail(f"unknown command {command!r}{hint}; known: {', '.join(COMMANDS)}")
    run, settings_class, does = COMMANDS[command]
    try:
        settings = parse_settings(settings_class, arguments, f"main.py {command}", help_of(does))
        from utils.runs.trained_runs import with_trained_runs
        from utils.system.backend import choose_backend

        choose_backend(settings.backend, announcer(command, settings))
        run(with_trained_runs(settings))
    except (UserError, OSError) as error:
        fail(error)
    except RunError as error:
        fail(error, error.code)
    except Interrupted as stop:
        print(printable(str(stop)), file=sys.stderr)
        raise SystemExit(stop.code) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def help_of(does):
    """What --help says before the settings: what the command does, and which others there are."""
    lines = [f"  {name:<13} {text}" for name, (_, _, text) in COMMANDS.items()]
    head = "commands (python main.py COMMAND --help); without one: train"
    return "\n".join([f"{does[0].upper()}{does[1:]}.", "", head, *lines])


if __name__ == "__mp_main__":  # in a process that is to decode images, before it imports Grain
    from utils.system.workers import silence_grain

    silence_grain()

if __name__ == "__main__":
    make_output_safe()
    main(sys.argv[1:])
