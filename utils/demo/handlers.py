"""What the demo's page does when its controls are used."""

import html
from collections.abc import Sequence
from typing import Any

import gradio as gr

from ..explain.selection import SelectedImage, one_of_each_class
from ..system.errors import UserError
from .demo_runs import DemoRuns
from .explainer import ImageExplanation, Query

# the explanations on the page, and those that were there before; `None` if there are none
Results = tuple[Sequence[ImageExplanation] | None, Sequence[ImageExplanation] | None]

PREDICTED = -1  # in place of a class
FIRST_NETWORK, PREVIOUS_RESULT = "first", "previous"  # to compare with
NO_IMAGE = "<p>Choose an image to see what the networks predict and where they look.</p>"


def sample_numbers(runs: DemoRuns) -> list[int]:
    """Returns the numbers of the test images in the page's gallery."""
    return [] if runs.dataset is None else one_of_each_class(runs.dataset.y_test)


class Handlers:
    """The functions that the page calls when a control is used.

    Args:
        runs: a `DemoRuns`.
    """

    def __init__(self, runs: DemoRuns) -> None:
        self._runs = runs
        self._samples = sample_numbers(runs)

    def choose_number(self, number: float | None) -> tuple[Any, Any, Any]:
        """Returns the number, its test image, and the gallery without a selection."""
        if number is None:
            return gr.skip(), gr.skip(), gr.skip()
        try:
            return number, self._runs.test_image(number), gr.Gallery(selected_index=None)
        except UserError as error:
            _warn(error)
            return None, gr.skip(), gr.skip()

    def choose_sample(self, event: gr.SelectData) -> tuple[SelectedImage, int]:
        """Returns the test image that was selected in the gallery, and its number."""
        number = self._samples[event.index]
        return self._runs.test_image(number), number

    def upload(self, path: str) -> tuple[Any, Any, Any, Any]:
        """Returns an empty file, the uploaded image, no number, and no selection."""
        try:
            image = self._runs.uploaded_image(path)
        except UserError as error:
            _warn(error)
            return None, gr.skip(), gr.skip(), gr.skip()
        return None, image, None, gr.Gallery(selected_index=None)

    def explain(
        self,
        target: int,
        stage: int,
        reference: str,
        image: SelectedImage | None,
        results: Results,
    ) -> tuple[str, Results]:
        """Explains the chosen image, unless the page already shows that explanation.

        Args:
            target: int, the class to explain, or `PREDICTED`.
            stage: int, the index of the stage.
            reference: string, `FIRST_NETWORK` or `PREVIOUS_RESULT`.
            image: a `SelectedImage`; `None` if none is chosen yet.
            results: pair of lists of `ImageExplanation`s, the current and the previous ones.

        Returns:
            The HTML to show, and the new `results`.
        """
        if image is None:
            return NO_IMAGE, results
        current, previous = results
        query = Query(image, None if target == PREDICTED else target, self._runs.stages[stage])
        if current is None or not query.same_as(current[0].query):
            current, previous = self._runs.explain(query), current
        if reference == FIRST_NETWORK:
            return self._runs.render(current), (current, previous)
        references = list(previous) if previous else [None] * len(current)
        return self._runs.render(current, references), (current, previous)


def _warn(error: UserError) -> None:
    """Shows a message; raising Gradio's own error instead would discard the handler's outputs."""
    gr.Warning(html.escape(str(error)))
