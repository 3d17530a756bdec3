"""What the demo's page does when its controls are used, without a browser."""

import pytest

gr = pytest.importorskip("gradio", reason="the demo's page needs Gradio")

from tests.run_folders import write_run  # noqa: E402
from utils.config.command_settings import DemoSettings  # noqa: E402
from utils.data.datasets import load_dataset  # noqa: E402
from utils.demo.demo_runs import load_demo_runs  # noqa: E402
from utils.demo.handlers import FIRST_NETWORK, NO_IMAGE, PREDICTED, PREVIOUS_RESULT, Handlers  # noqa: E402
from utils.explain.selection import SelectedImage  # noqa: E402

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def demo_runs(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("runs") / "run", load_dataset("digits"))
    return load_demo_runs(DemoSettings(runs=[str(run)]))


@pytest.fixture
def warnings(monkeypatch):
    messages = []
    monkeypatch.setattr(gr, "Warning", messages.append)
    return messages


def test_results_are_kept_until_the_query_changes(demo_runs):
    handlers, nothing = Handlers(demo_runs), (None, None)
    image = demo_runs.test_image(0)
    assert handlers.explain(PREDICTED, 0, FIRST_NETWORK, None, nothing) == (NO_IMAGE, nothing)
    page, first = handlers.explain(PREDICTED, 0, PREVIOUS_RESULT, image, nothing)
    assert first[1] is None
    assert "Changes are" not in page
    # another way to compare: the same explanations
    _, again = handlers.explain(PREDICTED, 0, FIRST_NETWORK, image, first)
    assert again[0] is first[0]
    # another class, stage, image, or content under the same name: new, with the old as previous
    for target, stage, changed in (
        (3, 0, image),
        (PREDICTED, 1, image),
        (PREDICTED, 0, demo_runs.test_image(1)),
        (PREDICTED, 0, SelectedImage(image.name, image.pixels[::-1], image.label)),
    ):
        page, (current, previous) = handlers.explain(target, stage, PREVIOUS_RESULT, changed, first)
        assert current is not first[0]
        assert previous is first[0]
        assert current[0].query.image is changed
        assert current[0].query.stage == demo_runs.stages[stage]
        assert target in (PREDICTED, current[0].target)
        assert "Changes are relative to the previous result." in page


def test_numbers_and_samples(demo_runs, warnings):
    handlers = Handlers(demo_runs)
    number, image, _ = handlers.choose_number(5)
    assert (number, image.name) == (5, "test image 5")
    assert handlers.choose_number(360)[0] is None
    assert warnings == ["the test images have the numbers 0 to 359; received 360"]
    event = gr.SelectData(None, {"index": 3, "value": None})
    image, number = handlers.choose_sample(event)
    assert (image.name, image.label) == (f"test image {number}", 3)


def test_a_message_about_a_file_is_escaped(demo_runs, warnings, tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>.png"
    path.write_text("no image")
    Handlers(demo_runs).upload(str(path))
    (message,) = warnings
    assert message.startswith("&lt;img src=x onerror=alert(1)&gt;.png is no image")
