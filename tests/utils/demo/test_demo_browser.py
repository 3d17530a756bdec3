"""The demo's page in a real browser: with a mouse, on a phone, and with the keyboard alone."""

import json
import re
import shutil
import signal
import threading
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from models.saving import load_model
from tests.image_folders import png_bomb
from tests.processes import start_python
from tests.run_folders import write_run
from utils.data.datasets import load_dataset

pytest.importorskip("gradio", reason="the demo's page needs Gradio")
pytest.importorskip("selenium", reason="a browser is driven by Selenium")
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
# nothing of the browser's own may ask for the network either
QUIET = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
WIDE, NARROW = (1200, 900), (390, 844)
PATIENCE = 60  # seconds until a page that does not change is a failure
CONTROLS = "input, select, textarea, button, [role=listbox]"

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver installed"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    digits = load_dataset("digits")
    return [
        write_run(folder / f"digits-{name}-seed0", digits, attention=name)
        for name in ("none", "cbam_block")
    ]


@pytest.fixture(scope="module")
def address(runs):
    """The address of a demo in another process, which Ctrl-C ends."""
    process = start_python("main.py", "demo", *runs, environment={"PYTHONUNBUFFERED": "1"})
    end = threading.Timer(2 * PATIENCE, process.kill)
    end.start()
    line = process.stdout.readline()
    end.cancel()
    if "demo runs at" not in line:
        pytest.fail(f"the demo did not start: {line}{process.stderr.read()}")
    yield re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert complaints.splitlines()[-1] == "interrupted"
    assert "Traceback" not in complaints


@pytest.fixture(scope="module")
def browser(address, tmp_path_factory):  # ends before the demo, which it has connections to
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """The page as a person sees it."""

    def __init__(self, driver):
        self.driver = driver

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def texts(self, css):
        """The texts of elements, read at once: the page may replace them at any time."""
        return self.script(
            "[...document.querySelectorAll(arguments[0])].map(e => e.innerText)", css
        )

    def until(self, condition):
        return WebDriverWait(self.driver, PATIENCE).until(lambda _: condition())

    def script(self, line, *arguments):
        return self.driver.execute_script(f"return {line}", *arguments)

    @property
    def title(self):
        return self.script("document.querySelector('.zoo h2')?.innerText")

    @property
    def text(self):
        return self.script("document.body.innerText")

    @property
    def messages(self):
        """The text of the messages that disappear after a while."""
        return " ".join(self.texts("[data-testid=toast-body]"))

    def control(self, name):
        return next(e for e in self.all(CONTROLS) if e.accessible_name.startswith(name))

    @property
    def pictures(self):
        return self.script("[...document.querySelectorAll('.zoo img')].map(i => i.src)")

    def upload(self, path):
        self.driver.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(path))

    def resize(self, width, height):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def shows(self, title):
        self.until(lambda: title in (self.title or ""))


@pytest.fixture
def page(browser, address):
    page = Page(browser)
    page.resize(*WIDE)
    for log in ("browser", "performance"):
        browser.get_log(log)  # forgets those of the test before
    browser.get(address)
    page.shows("test image 0")
    return page


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (60, 80, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def shares(page, number):
    """The probabilities in the table of a network, by class, in percent."""
    rows = page.texts(f".zoo article:nth-of-type({number + 1}) tbody tr")
    cells = [row.split() for row in rows]
    return {name: float(share) for name, share, *_ in cells}


def test_shows_the_predictions_and_connects_to_no_other_host(page, runs, address):
    digits = load_dataset("digits")
    for number, run in enumerate(runs):
        predicted = load_model(run / "best.keras").predict(digits.x_test[:1], verbose=0)[0]
        found = shares(page, number)
        assert len(found) == 5
        assert max(found, key=found.get) == str(predicted.argmax())
        for name, share in found.items():
            assert share == pytest.approx(100 * predicted[int(name)], abs=0.06)
    assert page.title == f"test image 0: {digits.y_test[0]}"
    events = [json.loads(e["message"])["message"] for e in page.driver.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"].endswith("WillBeSent")]
    hosts = {urlsplit(url).netloc for url in asked if url.startswith(("http", "ws"))}
    assert hosts == {urlsplit(address).netloc}
    assert not [e for e in page.driver.get_log("browser") if e["level"] == "SEVERE"]


def test_compares_a_test_image_with_the_previous_result(page):
    before, shares_before = page.pictures, shares(page, 0)
    (number,) = page.all("input[type=number]")
    number.send_keys(Keys.CONTROL, "a")
    number.send_keys("7", Keys.ENTER)
    page.shows("test image 7")
    assert all(new != old for new, old in zip(page.pictures[:2], before[:2], strict=True))
    assert "Changes are relative to network none." in page.text
    page.control("the previous result").click()
    page.until(lambda: "Changes are relative to the previous result." in page.text)
    row = page.texts(".zoo article tbody tr")[0].split()
    if row[0] in shares_before:
        change = float(row[1]) - shares_before[row[0]]
        assert float(row[2]) == pytest.approx(change, abs=0.16)
    page.all("#samples button")[3].click()
    page.until(lambda: "test image 7" not in page.title)
    assert page.title.endswith(": 3")  # the first of each class
    assert number.get_attribute("value") == re.search(r"\d+", page.title)[0]


def test_explains_a_file_and_refuses_others(page, photo, tmp_path):
    page.upload(photo)
    page.shows("photo.png")
    seen = page.pictures
    (tmp_path / "broken.png").write_bytes(photo.read_bytes()[:900])
    page.upload(tmp_path / "broken.png")
    page.until(lambda: "broken.png is no image that can be read" in page.messages)
    assert str(tmp_path) not in page.messages
    (tmp_path / "bomb.png").write_bytes(png_bomb())
    page.upload(tmp_path / "bomb.png")
    page.until(lambda: "bomb.png is no image that can be read: Image size" in page.messages)
    (tmp_path / "huge.png").write_bytes(bytes(21 * 2**20))
    page.upload(tmp_path / "huge.png")
    page.until(lambda: "exceed the maximum allowed size of 20" in page.messages)
    (tmp_path / "note.txt").write_text("no image")
    page.upload(tmp_path / "note.txt")
    page.until(lambda: "Invalid file type: note.txt" in page.messages)
    assert page.title == "photo.png"
    assert page.pictures == seen
    Image.open(photo).rotate(180).save(tmp_path / "other.png")
    page.upload(tmp_path / "other.png")
    page.shows("other.png")
    assert page.pictures[0] != seen[0]


def tab_to(page, name):
    """Presses the Tab key until a control has the focus."""
    for _ in range(40):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        active = page.driver.switch_to.active_element
        if active.accessible_name.startswith(name):
            return active
    pytest.fail(f"the Tab key does not reach {name}")


def test_keyboard_alone(page):
    number = tab_to(page, "Test image, 0 to 359")
    number.send_keys(Keys.CONTROL, "a")
    number.send_keys("400", Keys.ENTER)
    page.until(lambda: "have the numbers 0 to 359; received 400" in page.messages)
    tab_to(page, "Thumbnail 3").send_keys(Keys.ENTER)
    page.until(lambda: page.title.endswith(": 2"))
    assert tab_to(page, "Click to upload").tag_name == "button"
    tab_to(page, "Class that").send_keys("5", Keys.ENTER)
    page.until(lambda: "Grad-CAM at 2×2: bright areas speak for 5" in page.text)
    before = page.pictures
    tab_to(page, "4×4").send_keys(Keys.SPACE)
    page.until(lambda: "Grad-CAM at 4×4: bright areas speak for 5" in page.text)
    assert page.pictures != before
    tab_to(page, "the previous result").send_keys(Keys.SPACE)
    page.until(lambda: "Changes are relative to the previous result." in page.text)


def test_narrow_screen(page):
    tops = [article.location["y"] for article in page.all(".zoo article")]
    assert len(set(tops)) == 1
    page.resize(*NARROW)
    page.until(lambda: len({a.location["x"] for a in page.all(".zoo article")}) == 1)
    assert page.script("document.documentElement.scrollWidth") <= NARROW[0]
    for element in page.all(f".zoo img, .zoo table, {CONTROLS}"):
        box = element.rect
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= NARROW[0]
    sizes = {float(e.value_of_css_property("font-size")[:-2]) for e in page.all(".zoo figcaption")}
    assert min(sizes) >= 12


def test_pictures_and_controls_have_names(page):
    assert all(image.get_attribute("alt") for image in page.all("img"))
    names = [control.accessible_name for control in page.all(CONTROLS) if control.is_displayed()]
    assert len(names) > 10
    assert all(names), names
    assert page.script("document.documentElement.lang") == "en"
    assert page.driver.title == "Attention zoo: none, cbam_block"
