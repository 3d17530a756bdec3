"""The figure of loss and accuracy during a training."""

from collections.abc import Mapping, Sequence

from matplotlib.ticker import MaxNLocator

from .figures import TRAINING, VALIDATION, Target, save_figure, two_panels, wrapped_title


def plot_curves(
    path: Target, history: Sequence[Mapping[str, float]], title: str, stacked: bool = False
) -> None:
    """Draws loss and accuracy of training and validation by epoch.

    Args:
        path: path of the PNG file, or a binary file.
        history: sequence of dictionaries, one per epoch, with the columns of `metrics.csv`.
        title: string above the figure.
        stacked: bool, whether accuracy is below loss, for a narrow screen. Defaults to `False`,
            side by side.
    """
    figure, panels = two_panels(stacked, wide=(9, 3.8), narrow=(4.6, 5.4))
    figure.suptitle(wrapped_title(figure, title))
    epochs = [row["epoch"] for row in history]
    for axes, key in zip(panels, ("loss", "accuracy"), strict=True):
        lines = ((key, "training", TRAINING, "o--"), (f"val_{key}", "validation", VALIDATION, "o-"))
        for column, label, color, style in lines:
            if column in history[-1]:
                values = [row[column] for row in history]
                axes.plot(epochs, values, style, color=color, label=label, markersize=3)
        axes.set(xlabel="epoch", ylabel=key)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    save_figure(figure, path)
