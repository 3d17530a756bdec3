"""The page of the demo: its controls, in Gradio."""

import contextlib
import html
from collections.abc import Iterator
from typing import Any

import gradio as gr
from PIL import Image

from ..data.dataset import Dataset
from .demo_runs import DemoRuns
from .explainer import Query
from .handlers import (
    FIRST_NETWORK,
    NO_IMAGE,
    PREDICTED,
    PREVIOUS_RESULT,
    Handlers,
    sample_numbers,
)
from .request_limits import RequestLimits
from .same_site import SameSite

LARGEST_FILE = "20mb"
KEPT_UPLOADS = (60, 600)  # seconds between two looks for old files, and how long one is kept
FONTS = ("system-ui", "sans-serif")  # the browser loads none
# Gradio's margins are wide, its gallery has a fixed height, and its word "Error" would cover the
# place for a file, although a message already says what is wrong
CSS = """
.gradio-container { width: 100%; max-width: 90rem !important; margin: 0 auto !important; }
#samples .grid-wrap { min-height: 0; max-height: none; overflow: visible; padding-top: 1.75rem; }
#samples .grid-container { grid-template-columns: repeat(3, minmax(0, 1fr)); }
#own [data-testid=status-tracker] { display: none; }
#samples img { image-rendering: pixelated; }
@media (max-width: 640px) { .gradio-container > .main { padding: 12px !important; } }
"""


@contextlib.contextmanager
def serve_page(runs: DemoRuns, host: str, port: int, uploads: str) -> Iterator[str]:
    """A context in which the page is served; it yields the page's address.

    Args:
        runs: a `DemoRuns`.
        host: string, the address to listen on.
        port: int.
        uploads: path of the folder that uploaded files go to.
    """
    page = build_page(runs)
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        inbrowser=False,
        prevent_thread_lock=True,
        max_file_size=LARGEST_FILE,
        state_session_capacity=100,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=gr.themes.Base(font=FONTS, font_mono=("ui-monospace", "monospace")),
        css=CSS,
        # Starlette takes what an entry of its list unpacks to: class, arguments, options
        app_kwargs={
            "middleware": [
                (SameSite, (), {"host": host}),
                (RequestLimits, (), {"folder": uploads}),
            ]
        },
    )
    try:
        yield address
    finally:
        page.close(verbose=False)


def build_page(runs: DemoRuns) -> gr.Blocks:
    """Builds the page, which explains the first test image if there is one.

    Args:
        runs: a `DemoRuns`.
    """
    first, explanations, content = None, None, NO_IMAGE
    if runs.dataset is not None:
        first = runs.test_image(0)
        explanations = runs.explain(Query(first, None, runs.stages[-1]))
        content = runs.render(explanations)
    names = ", ".join(explainer.name for explainer in runs.explainers)
    with gr.Blocks(
        title=f"Attention zoo: {names}",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=KEPT_UPLOADS,
    ) as page:
        image, results = gr.State(first), gr.State((explanations, None))
        gr.HTML("<h1>What the networks look at</h1>")
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                number, samples = _test_image_controls(runs)
                file = gr.File(
                    label="An image of your own", file_types=["image"], height=160, elem_id="own"
                )
                gr.HTML(
                    "<p>PNG, JPEG, BMP, GIF or WebP of at most 20 MB. The image is cropped around "
                    "its center.</p>"
                )
                choices = _choice_controls(runs)
            with gr.Column(scale=3, min_width=320):
                result = gr.HTML(content, apply_default_css=False)
        handlers = Handlers(runs)
        chosen = _connect_images(handlers, number, samples, file, image)
        _connect_explanation(handlers, chosen, choices, image, results, result)
    return page


def _test_image_controls(runs: DemoRuns) -> tuple[gr.Number, gr.Gallery]:
    """The number of a test image and a gallery to choose from, both hidden without test images."""
    if runs.dataset is None:
        gr.HTML(f"<p>No test images: {html.escape(runs.no_dataset)}</p>")
        return gr.Number(visible=False), gr.Gallery(visible=False)
    number = gr.Number(
        label=f"Test image, 0 to {len(runs.dataset.x_test) - 1}", value=0, precision=0
    )
    samples = gr.Gallery(
        [_thumbnail(runs.dataset, n) for n in sample_numbers(runs)],
        label="Some test images",
        columns=3,
        allow_preview=False,
        format="png",
        buttons=[],
        object_fit="contain",
        interactive=False,
        elem_id="samples",
    )
    return number, samples


def _thumbnail(dataset: Dataset, number: int) -> tuple[Image.Image, str]:
    pixels = dataset.x_test[number]
    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return Image.fromarray(pixels), dataset.class_names[dataset.y_test[number]]


def _choice_controls(runs: DemoRuns) -> list[gr.components.Component]:
    """The class and the stage to explain, and the reference to compare with."""
    classes = [(name, number) for number, name in enumerate(runs.class_names)]
    target = gr.Dropdown(
        [("the predicted class", PREDICTED), *classes],
        value=PREDICTED,
        label="Class that Grad-CAM explains",
    )
    stages = [f"{height}×{width}" for height, width in runs.stages]
    stage = gr.Radio(
        stages, value=stages[-1], type="index", label="Stage, by the size of its feature maps"
    )
    references = [("the previous result", PREVIOUS_RESULT)]
    if len(runs.explainers) > 1:
        references.insert(0, (f"network {runs.explainers[0].name}", FIRST_NETWORK))
    reference = gr.Radio(references, value=references[0][1], label="Compare with")
    return [target, stage, reference]


def _connect_images(
    handlers: Handlers, number: gr.Number, samples: gr.Gallery, file: gr.File, image: gr.State
) -> list[Any]:
    """Connects the controls that choose an image; returns the events after which one is chosen."""
    options: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "trigger_mode": "always_last",  # by default, events during a running one are dropped
    }
    triggers = [number.submit, number.blur]
    return [
        gr.on(triggers, handlers.choose_number, number, [number, image, samples], **options),
        samples.select(handlers.choose_sample, None, [image, number], **options),
        file.upload(handlers.upload, file, [file, image, number, samples], **options),
    ]


def _connect_explanation(
    handlers: Handlers,
    chosen: list[Any],
    choices: list[Any],
    image: gr.State,
    results: gr.State,
    result: gr.HTML,
) -> None:
    """Has the image explained after an image is chosen, and when a choice changes."""
    inputs, outputs = [*choices, image, results], [result, results]
    options: dict[str, Any] = {
        "concurrency_id": "networks",
        "concurrency_limit": 1,  # the networks serve one visitor at a time
        "api_visibility": "private",
    }
    for event in chosen:
        event.success(handlers.explain, inputs, outputs, **options)
    triggers = [choice.input for choice in choices]
    gr.on(triggers, handlers.explain, inputs, outputs, trigger_mode="always_last", **options)
