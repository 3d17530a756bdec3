"""The demo's page: its controls in Gradio, and what they do."""

import contextlib
import html

import gradio as gr
from PIL import Image

from ..explain.selection import one_of_each_class
from ..system.errors import UserError
from .explainer import Query

LARGEST_FILE = "20mb"
FONTS = ("system-ui", "sans-serif")  # the machine's own
PREDICTED = -1
FIRST, BEFORE = "first", "before"
NOTHING = "<p>Choose an image to see what the networks make of it.</p>"
# against Gradio's wide margins, the height that it gives to a gallery, and the word "Error" that
# lies over the place for a file until it is closed: what was wrong is said in a message
CSS = """
.gradio-container { width: 100%; max-width: 90rem !important; margin: 0 auto !important; }
#samples .grid-wrap { min-height: 0; max-height: none; overflow: visible; padding-top: 1.75rem; }
#samples .grid-container { grid-template-columns: repeat(3, minmax(0, 1fr)); }
#own [data-testid=status-tracker] { display: none; }
#samples img { image-rendering: pixelated; }
@media (max-width: 640px) { .gradio-container > .main { padding: 12px !important; } }
"""


@contextlib.contextmanager
def opened(runs, host, port):
    """Serves the page while it is entered, which gives its address.

    Args:
        runs: a `DemoRuns`.
        host: string, the address to listen on.
        port: int.
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
    )
    try:
        yield address
    finally:
        page.close(verbose=False)


def build_page(runs):
    """Builds the page, with the first test image on it if there is one.

    Args:
        runs: a `DemoRuns`.

    Returns:
        A `gradio.Blocks`.
    """
    first, explanations = None, None
    if runs.dataset is not None:
        first = runs.picked(0)
        explanations = runs.explanations(Query(first, None, runs.stages[-1]))
    title = ", ".join(explainer.name for explainer in runs.explainers)
    with gr.Blocks(
        title=f"Attention zoo: {title}", analytics_enabled=False, fill_width=True
    ) as page:
        image, seen = gr.State(first), gr.State((explanations, None))
        gr.HTML("<h1>What the networks look at</h1>")
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                number, samples = _test_images(runs)
                file = gr.File(
                    label="An image of your own", file_types=["image"], height=160, elem_id="own"
                )
                gr.HTML("<p>PNG, JPEG, BMP, GIF or WebP of at most 20 MB; the middle is taken.</p>")
                target, stage, against = _choices(runs)
            with gr.Column(scale=3, min_width=320):
                start = NOTHING if explanations is None else runs.compared(explanations)
                result = gr.HTML(start, apply_default_css=False)
        _connect(runs, (number, samples, file), (image, target, stage, against, seen), result)
    return page


def _test_images(runs):
    """The controls that pick a test image: a number and a gallery, unseen without test images."""
    if runs.dataset is None:
        gr.HTML(f"<p>No test images to pick from: {html.escape(runs.lacks)}</p>")
    there = runs.dataset is not None
    number = gr.Number(
        label=f"Test image, 0 to {len(runs.dataset.x_test) - 1}" if there else "Test image",
        value=0 if there else None,
        precision=0,
        visible=there,
    )
    samples = gr.Gallery(
        [_thumbnail(runs, n) for n in _sample_numbers(runs)],
        label="Some test images",
        columns=3,
        allow_preview=False,
        format="png",
        buttons=[],
        object_fit="contain",
        interactive=False,
        visible=there,
        elem_id="samples",
    )
    return number, samples


def _sample_numbers(runs):
    return [] if runs.dataset is None else one_of_each_class(runs.dataset.y_test)


def _thumbnail(runs, number):
    image = runs.picked(number)
    pixels = image.pixels[..., 0] if image.pixels.shape[-1] == 1 else image.pixels
    return Image.fromarray(pixels), runs.class_names[image.label]


def _choices(runs):
    """The controls that say what is looked at in the image, and compared with what."""
    names = [(name, number) for number, name in enumerate(runs.class_names)]
    target = gr.Dropdown(
        [("the predicted one", PREDICTED), *names],
        value=PREDICTED,
        label="Class that Grad-CAM explains",
    )
    stages = [f"{height}×{width}" for height, width in runs.stages]
    stage = gr.Radio(
        stages, value=stages[-1], type="index", label="Stage, by the size of its feature maps"
    )
    ways = [(f"with {runs.explainers[0].name}", FIRST)] if len(runs.explainers) > 1 else []
    ways.append(("with what was shown before", BEFORE))
    against = gr.Radio(ways, value=ways[0][1], label="Compare")
    return target, stage, against


def _connect(runs, sources, chosen, result):
    """Says what happens when a control is used."""
    number, samples, file = sources
    image, *_, seen = chosen
    numbers = _sample_numbers(runs)

    def show(image, target, stage, against, seen):
        return shown(runs, image, (target, stage), against, seen)

    def pick(number):
        if number is None:
            return gr.skip(), gr.skip(), gr.skip()
        try:
            return number, runs.picked(number), gr.Gallery(selected_index=None)
        except UserError as error:
            _tell(error)
            return None, gr.skip(), gr.skip()

    def pick_sample(event: gr.SelectData):
        return runs.picked(numbers[event.index]), numbers[event.index]

    def take(path):
        try:
            taken = runs.uploaded(path)
        except UserError as error:
            _tell(error)
            return None, gr.skip(), gr.skip(), gr.skip()
        return None, taken, None, gr.Gallery(selected_index=None)

    quietly = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "trigger_mode": "always_last",  # or what comes in the meantime is lost
    }
    picks = [
        gr.on([number.submit, number.blur], pick, number, [number, image, samples], **quietly),
        samples.select(pick_sample, None, [image, number], **quietly),
        file.upload(take, file, [file, image, number, samples], **quietly),
    ]
    one_at_a_time = {
        "concurrency_id": "networks",
        "concurrency_limit": 1,
        "api_visibility": "private",
    }
    for picked in picks:
        picked.success(show, chosen, [result, seen], **one_at_a_time)
    _, target, stage, against, _ = chosen
    gr.on(
        [target.input, stage.input, against.input],
        show,
        chosen,
        [result, seen],
        trigger_mode="always_last",
        **one_at_a_time,
    )


def shown(runs, image, place, against, seen):
    """Explains what is chosen, unless that is what was explained last.

    Args:
        runs: a `DemoRuns`.
        image: a `SelectedImage`, or `None` where none is chosen yet.
        place: pair of ints, the class or `PREDICTED`, and the number of the stage.
        against: string, `FIRST` or `BEFORE`: what to compare with.
        seen: pair of lists of `Explanation`s or `None`: now, and before.

    Returns:
        What to show, HTML, and what is seen now and before.
    """
    if image is None:
        return NOTHING, seen
    target, stage = place
    query = Query(image, None if target == PREDICTED else target, runs.stages[stage])
    now, before = seen
    if now is None or not query.same(now[0].query):
        now, before = runs.explanations(query), now
    if against == FIRST:
        return runs.compared(now), (now, before)
    return runs.compared(now, before or [None] * len(now)), (now, before)


def _tell(error):
    """Says what is wrong; after an error of Gradio's, nothing that is returned would count."""
    gr.Warning(html.escape(str(error)))
