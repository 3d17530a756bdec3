"""`predict`: any image files, as a table, CSV or JSON, from runs and from files."""

import csv
import io
import json
import os
import sys
import weakref

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from main import main
from models.saving import load_model, save_model
from tests.run_folders import write_run
from utils.data.dataset import Dataset
from utils.predict import predict
from utils.predict.scores import ends_in_softmax, look_like_probabilities, softmax
from utils.system.errors import UserError
from utils.system.files import write_json

CLASSES = ("flower", "temple", "=SUM(A1)")
SIZE = 16


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of three classes, whose network was not trained."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, SIZE, SIZE, 3)).astype("uint8")
    labels = np.array([0, 1, 2, 0, 1, 2])
    dataset = Dataset("digits", images, labels, images, labels, CLASSES, 0, flips=False)
    folder = write_run(tmp_path_factory.mktemp("runs") / "run", dataset, attention="none")
    write_json(folder / "summary.json", {"class_names": list(CLASSES)})
    return folder


@pytest.fixture
def photos(tmp_path):
    """Images of the network's size, so that nothing is resized, in folders of classes."""
    rng = np.random.default_rng(1)
    for name in ("flower", "temple"):
        (tmp_path / "photos" / name / "more").mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (SIZE, SIZE, 3)).astype("uint8")
            place = "more/" if number == 2 else ""
            Image.fromarray(pixels).save(tmp_path / f"photos/{name}/{place}{number}.png")
    return tmp_path / "photos"


def predicted(*arguments, code=0):
    """Runs the command; its exit code is 0 unless another one is given."""
    if code == 0:
        main(["predict", *map(str, arguments)])
        return
    with pytest.raises(SystemExit) as stop:
        main(["predict", *map(str, arguments)])
    assert stop.value.code == code


def probabilities_of(run, paths):
    """What the network says, without the command."""
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    if keras.config.image_data_format() == "channels_first":
        pixels = pixels.transpose(0, 3, 1, 2)
    return keras.ops.convert_to_numpy(load_model(run / "best.keras")(pixels))


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_what_the_network_says(run, photos, capsys):
    predicted(run, photos, "--format", "csv", "--top", "2", "--precision", "float32")
    rows = rows_of(capsys.readouterr().out)
    assert list(rows[0]) == ["path", "rank", "class", "probability"]
    assert [row["rank"] for row in rows] == ["1", "2"] * 6
    paths = list(dict.fromkeys(row["path"] for row in rows))
    assert paths == [str(path) for path in sorted(photos.rglob("*.png"))]
    expected = probabilities_of(run, paths)
    numbers = [["flower", "temple", "'=SUM(A1)"].index(row["class"]) for row in rows]
    np.testing.assert_array_equal(np.reshape(numbers, (6, 2)), np.argsort(-expected, axis=1)[:, :2])
    found = np.reshape([float(row["probability"]) for row in rows], (6, 2))
    np.testing.assert_allclose(found, np.sort(expected, axis=1)[:, :0:-1], atol=2e-6)


def test_json(run, photos, capsys):
    predicted(run, photos / "flower" / "0.png", "--format", "json")
    (found,) = json.loads(capsys.readouterr().out)
    assert found["path"] == str(photos / "flower" / "0.png")
    assert found["label"] == "flower"
    assert [each["rank"] for each in found["predictions"]] == [1, 2, 3]
    assert {each["class"] for each in found["predictions"]} == set(CLASSES)
    assert sum(each["probability"] for each in found["predictions"]) == pytest.approx(1, abs=1e-5)


def test_a_link_is_of_the_class_whose_folder_it_is_in(run, photos, capsys):
    link = photos / "flower" / "link.png"
    link.symlink_to(photos / "temple" / "0.png")
    predicted(run, link, "--format", "json")
    (found,) = json.loads(capsys.readouterr().out)
    assert found["label"] == "flower"


def test_the_innermost_folder_of_a_class_counts_in_a_pattern_too(run, photos, capsys):
    predicted(run, f"{photos}/**/*.png", "--format", "json")
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 6
    assert all(f"/{each['label']}/" in each["path"] for each in found)


def test_outputs_that_are_not_finite_are_no_predictions(photos, tmp_path, capsys):
    network = small_network("softmax")
    network.layers[-1].bias.assign([np.nan, 0, 0, 0])
    save_model(network, tmp_path / "network.keras")
    predicted(tmp_path / "network.keras", photos, "--format", "json", code=2)
    said = capsys.readouterr()
    assert "outputs are not finite numbers; predict with --precision float32" in said.err
    assert "NaN" not in said.out


def test_folders_of_classes_are_scored(run, photos, tmp_path, capsys):
    predicted(run, photos, "--output", tmp_path / "new" / "result", "--precision", "float32")
    said = capsys.readouterr().out
    paths = sorted(photos.rglob("*.png"))
    found = probabilities_of(run, paths).argmax(axis=1)
    truth = [0, 0, 0, 1, 1, 1]
    assert f"accuracy {np.mean(found == truth):.4f} of 6 images in folders of classes" in said
    with open(tmp_path / "new" / "result" / "confusion_matrix.csv", newline="") as file:
        head, *matrix = csv.reader(file)
    assert head == ["flower", "temple", "'=SUM(A1)"]
    np.testing.assert_array_equal(
        np.array(matrix, int), confusion_matrix(truth, found, labels=[0, 1, 2])
    )
    with open(tmp_path / "new" / "result" / "predictions.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 6 * 3
    assert Image.open(tmp_path / "new" / "result" / "confusion_matrix.png").size[0] > 100


def test_results_are_not_replaced(run, photos, tmp_path, capsys):
    (tmp_path / "predictions.csv").write_text("mine")
    predicted(run, photos, "--output", tmp_path, code=2)
    assert "has predictions.csv already" in capsys.readouterr().err
    assert (tmp_path / "predictions.csv").read_text() == "mine"


def test_what_cannot_be_read_is_named_and_the_rest_is_done(run, photos, capsys):
    (photos / "flower" / "1.png").write_bytes(b"no image")
    predicted(run, photos, "--format", "csv", "--top", "1", code=1)
    said = capsys.readouterr()
    assert len(rows_of(said.out)) == 5
    assert f"not read: {photos / 'flower' / '1.png'} is no image" in said.err
    assert said.err.endswith("error: 1 of 6 images could not be read; the rest is predicted\n")
    predicted(run, photos, "--format", "json", code=1)
    found = json.loads(capsys.readouterr().out)
    assert [("error" in each, "predictions" in each) for each in found].count((True, False)) == 1


def test_nothing_that_can_be_read(run, photos, capsys):
    file = photos / "note.txt"
    file.write_text("text")
    predicted(run, file, "--format", "json", code=1)
    said = capsys.readouterr()
    assert "error" in json.loads(said.out)[0]
    assert said.err.endswith("error: 1 of 1 images could not be read; nothing is predicted\n")


def test_what_is_passed_over_and_not_scored_is_said(run, photos, capsys):
    (photos / "flower" / "photo.heic").write_bytes(b"")
    for name in ("flower", "temple"):
        (photos / name).rename(photos / f"{name}s")
    predicted(run, photos, "--format", "csv")
    said = capsys.readouterr().err
    assert said.startswith("1 file or folder is passed over: flowers/photo.heic\n")
    assert "no accuracy: no folder has the name of a class (flower, temple, =SUM(A1))" in said


def test_names_patterns_and_standard_input(run, photos, capsys, monkeypatch):
    odd = photos / "[a] *.png"
    (photos / "temple" / "0.png").rename(odd)
    listed = f"{photos / 'flower' / '0.png'}\n\n{odd}\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed.encode())))
    sources = (odd, "-", photos / "**" / "2.png", photos / "flower")
    predicted(run, *sources, "--format", "csv", "--top", "1")
    paths = [row["path"] for row in rows_of(capsys.readouterr().out)]
    more = [photos / name / "more" / "2.png" for name in ("flower", "temple")]
    expected = [odd, photos / "flower" / "0.png", *more, photos / "flower" / "1.png"]
    assert paths == list(map(str, expected))


@pytest.mark.skipif(sys.platform == "win32", reason="names of files are text there")
def test_a_name_on_standard_input_that_is_not_utf_8(run, photos, capsys, monkeypatch):
    odd = os.fsencode(photos) + b"/caf\xe9.png"
    try:
        os.rename(photos / "flower" / "0.png", odd)
    except OSError:
        pytest.skip("the file system allows no such name")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(odd + b"\n"), "utf-8"))
    predicted(run, "-", "--format", "json")
    (found,) = json.loads(capsys.readouterr().out)
    assert found["path"] == os.fsdecode(odd)
    assert len(found["predictions"]) == 3


def test_without_standard_input(run, photos, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)  # as after `<&-`
    predicted(run, photos / "flower" / "0.png", "--format", "json")
    assert len(json.loads(capsys.readouterr().out)) == 1
    predicted(run, "-", code=2)
    assert "no path was given on standard input" in capsys.readouterr().err


def test_a_table_is_for_people(run, photos, capsys):
    predicted(run, photos / "flower" / "0.png", "--top", "3")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(str(photos / "flower" / "0.png"))
    assert all(line.endswith("%") for line in lines[:3])
    assert "true class, by predicted class:" in lines


def small_network(activation=None, size=SIZE, channels=3):
    image = keras.Input(
        (size, size, channels)
        if keras.config.image_data_format() == "channels_last"
        else (channels, size, size)
    )
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Dense(4, activation=activation)(x))


def test_a_file_without_a_run(photos, tmp_path, capsys):
    network = small_network()
    save_model(network, tmp_path / "network.keras")
    predicted(tmp_path / "network.keras", photos / "flower" / "0.png", "--format", "json")
    (found,) = json.loads(capsys.readouterr().out)
    pixels = np.asarray(Image.open(photos / "flower" / "0.png"))[None]
    if keras.config.image_data_format() == "channels_first":
        pixels = pixels.transpose(0, 3, 1, 2)
    logits = keras.ops.convert_to_numpy(network(pixels)).astype("float64")
    scores = np.exp(logits)[0]  # it ends without a softmax
    by_name = {each["class"]: each["probability"] for each in found["predictions"]}
    for number, expected in enumerate(scores / scores.sum()):
        assert by_name[f"class {number}"] == pytest.approx(expected, abs=2e-6)


def test_a_file_in_the_folder_of_a_run_has_its_classes(run, photos, capsys):
    predicted(run / "best.keras", photos / "flower" / "0.png")
    assert "temple" in capsys.readouterr().out


def test_any_size_and_gray(photos, tmp_path, capsys):
    save_model(small_network("softmax", None, 1), tmp_path / "network.keras")
    arguments = (tmp_path / "network.keras", photos / "flower" / "0.png")
    predicted(*arguments, code=2)
    assert "give --image-size" in capsys.readouterr().err
    predicted(*arguments, "--image-size", "20", "--format", "json")
    assert len(json.loads(capsys.readouterr().out)[0]["predictions"]) == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{run}", "{photos}", "missing.png"], "nothing called 'missing.png'"),
        (["{run}", "{run}/no*.png"], "matches no file"),
        (["{run}", "{empty}"], "file in or below it"),
        (["{empty}", "{photos}"], "must be the folder of a run"),
        (
            ["missing.keras", "{photos}"],
            "a .keras file, or trained weights",
        ),
        (
            ["{photos}/flower/0.png", "{photos}"],
            "a .keras file, or trained weights",
        ),
        (["{run}", "{photos}", "--top", "0"], "top"),
        (["{run}", "{photos}", "--format", "xml"], "must be one of table, csv, json"),
        (["{run}", "{photos}", "--image-size", "20"], "leave --image-size out"),
        (["{map}", "{photos}"], "must return a score for each of two or more classes"),
        (["{sigmoid}", "{photos}"], "sigmoid.keras returns sigmoid scores, not one class of"),
        (["{run}"], "required: IMAGES"),
    ],
)
def test_refusals(words, says, run, photos, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    image = keras.Input((SIZE, SIZE, 3))
    no_classes = keras.Model(image, keras.layers.Rescaling(1 / 255)(image))
    save_model(no_classes, tmp_path / "map.keras")
    save_model(small_network("sigmoid"), tmp_path / "sigmoid.keras")
    places = {"run": run, "photos": photos, "empty": tmp_path / "empty"}
    places |= {name: tmp_path / f"{name}.keras" for name in ("map", "sigmoid")}
    predicted(*(word.format(**places) for word in words), code=2)
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_probabilities_stay_and_logits_become_some():
    probabilities = np.array([[0.25, 0.75], [1.0, 0.0]])
    assert look_like_probabilities(probabilities)
    logits = np.array([[0.0, np.log(3)], [1000.0, 0.0]])
    assert not look_like_probabilities(logits)
    np.testing.assert_allclose(softmax(logits), probabilities, atol=1e-12)


class Own(keras.layers.Dense):
    """A layer of a user's own, which no graph tells anything of."""

    def call(self, inputs):
        return keras.ops.softmax(super().call(inputs))


def classifier(*layers):
    """A network that ends in layers after a dense one."""
    image = keras.Input((8,))
    x = keras.layers.Dense(3)(image)
    for layer in layers:
        x = layer(x)
    return keras.Model(image, x)


def nested(activation):
    """A network whose last layer is a model with a Sequential model in it."""
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, activation=activation)])
    features = keras.Input((8,))
    outer = keras.Model(features, [keras.layers.Dense(2)(features), inner(features)])
    image = keras.Input((8,))
    return keras.Model(image, outer(image)[1])


def ensemble(*activations):
    """The mean of the scores of several layers."""
    image = keras.Input((8,))
    scores = [keras.layers.Dense(3, activation=activation)(image) for activation in activations]
    return keras.Model(image, keras.layers.Average()(scores))


@pytest.mark.once
@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (lambda: classifier(), False),
        (lambda: classifier(keras.layers.Softmax()), True),
        (lambda: classifier(keras.ops.softmax), True),
        (lambda: classifier(keras.layers.Activation("softmax", dtype="float32")), True),
        (lambda: classifier(keras.layers.Activation("linear", dtype="float32")), False),
        (lambda: classifier(keras.layers.Dropout(0.5), keras.layers.Reshape((3,))), False),
        (lambda: classifier(keras.layers.Dense(3, activation="log_softmax")), False),
        (
            lambda: classifier(
                keras.layers.Dense(3, activation="softmax"), keras.layers.Activation("linear")
            ),
            True,
        ),
        (lambda: nested("softmax"), True),
        (lambda: nested(None), False),
        (lambda: ensemble("softmax", "softmax"), True),
        (lambda: ensemble("softmax", None), None),
        (lambda: classifier(Own(3)), None),
        (lambda: classifier(keras.layers.Dense(3, activation=lambda x: x)), None),
        (lambda: classifier(keras.layers.LayerNormalization()), None),
    ],
)
def test_the_graph_tells_probabilities_from_logits(network, expected):
    assert ends_in_softmax(network(), "it") is expected


@pytest.mark.once
@pytest.mark.parametrize(
    "network",
    [
        lambda: classifier(keras.layers.Dense(3, activation="sigmoid")),
        lambda: classifier(keras.layers.Activation("sigmoid", dtype="float32")),
        lambda: classifier(keras.ops.sigmoid),
        lambda: nested("sigmoid"),
        lambda: ensemble("sigmoid", "sigmoid"),
    ],
)
def test_other_scores_are_refused(network):
    with pytest.raises(UserError, match=r"^it returns sigmoid scores, not one class of several; "):
        ends_in_softmax(network(), "it")


def test_what_looks_like_probabilities_by_chance_is_not(photos, tmp_path, capsys):
    """Logits that are never negative and add up to 1 are logits all the same."""
    network = small_network()
    weights = [np.zeros((3, 4)), np.array([0.1, 0.2, 0.3, 0.4])]
    network.layers[-1].set_weights(weights)
    save_model(network, tmp_path / "network.keras")
    predicted(tmp_path / "network.keras", photos / "flower" / "0.png", "--format", "json")
    (found,) = json.loads(capsys.readouterr().out)
    powers = np.exp([0.4, 0.3, 0.2, 0.1])
    said = [each["probability"] for each in found["predictions"]]
    np.testing.assert_allclose(said, powers / powers.sum(), atol=2e-6)


@pytest.mark.once
def test_predictions_are_not_kept(run, photos, tmp_path, monkeypatch, capsys):
    """Their number is not limited by the memory, with or without `--output`."""
    alive, most = [], 0
    all_predictions = predict.predictions

    def watched(*arguments):
        nonlocal most
        for prediction in all_predictions(*arguments):
            alive.append(weakref.ref(prediction))
            most = max(most, sum(each() is not None for each in alive))
            yield prediction

    monkeypatch.setattr(predict, "predictions", watched)
    predicted(run, photos, "--output", tmp_path / "result")
    assert len(alive) == 6
    assert most <= 3


@pytest.mark.once
def test_an_output_that_cannot_be_made_is_refused_before_the_work(
    run, photos, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").touch()
    monkeypatch.setattr(predict, "predictions", lambda *_: pytest.fail("it predicts"))
    predicted(run, photos, "--output", tmp_path / "file" / "new", code=2)
    said = capsys.readouterr().err
    assert said.startswith(f"error: --output must be a folder; {tmp_path / 'file' / 'new'}: ")
    assert said.count("\n") == 1


@pytest.mark.once
def test_a_mistake_leaves_no_output(run, photos, tmp_path, capsys):
    predicted(run, "missing.png", "--output", tmp_path / "new", code=2)
    assert not (tmp_path / "new").exists()


@pytest.mark.once
def test_nul_on_standard_input(run, photos, capsys, monkeypatch):
    listed = io.BytesIO(b"a.png\0b.png\0")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(listed))
    predicted(run, "-", code=2)
    said = capsys.readouterr().err
    assert said == (
        "error: images: paths must be one a line; received NUL, as find -print0 writes\n"
    )
