"""Saves models, loads them without trusting the file, and copies saved weights by layer name."""

import io
import json
import math
import warnings
import zipfile
from os import PathLike
from pathlib import Path

import h5py
import keras

from . import attention_module  # noqa: F401  (registers the layers that a saved model holds)
from .archives import check_zip, most_unpacked
from .fast import install
from .finalization import finalize_layers
from .graphs import deep_graphs
from .precision import POLICY, as_float32, default_policy
from .private_api import (
    COMPILE_KEY,
    CONFIG_FILE,
    DATE_KEY,
    LOST_WEIGHTS,
    METADATA_FILE,
    OBJECT_NUMBER,
    UNKNOWN_CLASS,
    UNSAFE_LAMBDA,
    WEIGHTS_FILE,
)
from .transfer import attention_differences, first_of

DECORATE = "decorate it with @keras.saving.register_keras_serializable()"
MOST_LAYERS = 10_000  # Keras takes minutes for more; a ResNet of 1001 layers has 3,000


def save_model(model: keras.Model, path: str | PathLike[str]) -> None:
    """Saves a model as a `.keras` file; the same model gives the same bytes.

    Keras alone would write the date into the file, and addresses in memory. A model in mixed
    precision is saved as the float32 model that it is but for its computation.

    Args:
        model: a `keras.Model`.
        path: path of the file.
    """
    with as_float32(model):
        model.save(path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    numbers: dict[bytes, int] = {}
    files[CONFIG_FILE] = OBJECT_NUMBER.sub(
        lambda found: found[1] + b"%d" % numbers.setdefault(found[2], len(numbers) + 1),
        files[CONFIG_FILE],
    )
    metadata = json.loads(files[METADATA_FILE])
    metadata[DATE_KEY] = "1980-01-01@00:00:00"  # the first date that a zip archive can hold
    files[METADATA_FILE] = json.dumps(metadata).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)


def require_known_classes(model: keras.Model) -> None:
    """Refuses a model that would be saved, but not loaded again.

    Args:
        model: a `keras.Model`.

    Raises:
        ValueError: Keras does not know the class of one of its layers.
    """
    with deep_graphs():
        config = keras.saving.serialize_keras_object(model)
    for item in _objects(config):
        name, module = item.get("registered_name"), str(item.get("module")).partition(".")[0]
        is_own = isinstance(name, str) and module not in ("keras", "builtins", "None")
        if is_own and keras.saving.get_registered_object(name) is None:
            raise ValueError(
                f"{item['class_name']} is a class that Keras does not know, so that the network "
                f"could not be loaded again; {DECORATE}"
            )


def load_model(path: str | PathLike[str]) -> keras.Model:
    """Loads a `.keras` file in Keras's safe mode, without its training configuration.

    Args:
        path: path of the file.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: there is no such file, it is damaged, it claims more weights than it has, holds
            code, or holds a layer that is not registered in Keras.
    """
    path = Path(path)
    if not path.is_file() or path.suffix != ".keras":
        raise ValueError(f"{path} is no .keras file, or is not there")
    try:
        policy = _check_archive(path)
        with deep_graphs(), default_policy(policy), warnings.catch_warnings():
            # Keras only warns if it leaves weights as they are, or a path leads out of the archive
            warnings.filterwarnings("error", LOST_WEIGHTS)
            return install(keras.saving.load_model(path, compile=False, safe_mode=True))
    except Exception as error:  # a damaged archive can fail in any way
        if UNSAFE_LAMBDA in str(error):
            raise ValueError(
                f"{path} holds a Python lambda, which is code and is not loaded; build the model "
                f"with a layer class of yours in the place of the Lambda, {DECORATE}, and save it "
                "again"
            ) from error
        unknown = UNKNOWN_CLASS.search(str(error))
        if unknown:
            raise ValueError(
                f"{path} holds {unknown[1]!r}, which Keras does not know; {DECORATE} "
                "and import its file before loading"
            ) from error
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path} is damaged or no Keras model: {reason[0]}") from error


def _check_archive(path):
    """Refuses a file that would take far more memory than it has bytes; Keras allows 4 GiB.

    Returns the dtype policy of its layers: float32, or that of a layer that is not in float32.
    """
    check_zip(path)
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read(CONFIG_FILE))  # Python limits how deep it is nested
        weights = archive.read(WEIGHTS_FILE)
    if _layers(config) > MOST_LAYERS:
        raise ValueError(f"it has more than {MOST_LAYERS} layers")
    most = most_unpacked(path.stat().st_size)
    arrays = []
    with h5py.File(io.BytesIO(weights)) as file:
        file.visititems(lambda _, item: arrays.append(getattr(item, "nbytes", 0)))
    if sum(arrays) > most:
        raise ValueError(f"its arrays claim {sum(arrays)} bytes")
    config.pop(COMPILE_KEY, None)
    policy = _policy(config)
    # in this scope weights have shapes and no values
    scope = keras.StatelessScope(initialize_variables=False)
    with deep_graphs(), default_policy(policy), scope:
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
    if not isinstance(model, keras.Model):
        raise ValueError(f"it holds a {type(model).__name__}")
    asked = sum(math.prod(weight.shape) for weight in model.weights)
    if asked > most:
        raise ValueError(f"it is too small for {asked} weights")
    return policy


def _layers(config):
    """Counts the layers in the configuration of a model and of the models in it."""
    found = (item.get("layers") for item in _objects(config))
    return sum(len(layers) for layers in found if isinstance(layers, list))


def _policy(config):
    found = (item.get("config") for item in _objects(config) if item.get("class_name") == POLICY)
    names = [policy.get("name") for policy in found if isinstance(policy, dict)]
    return next((name for name in names if name != "float32"), "float32")


def _objects(config):
    """Yields the dictionaries in a configuration, at any depth."""
    remaining = [config]
    while remaining:
        item = remaining.pop()
        if isinstance(item, dict):
            yield item
            remaining += item.values()
        elif isinstance(item, list):
            remaining += item


def load_weights_by_name(model: keras.Model, path: str | PathLike[str]) -> None:
    """Copies the weights of a saved model into the layers of `model` with the same names.

    Args:
        model: the Keras model to fill; layers that only the file has are ignored.
        path: path of a `.keras` file.

    Raises:
        ValueError: the file cannot be loaded, lacks a layer of `model` in the same shape, or has
            attention that computes something else from the same weights; nothing is copied then.
    """
    try:
        saved = load_model(path)
    except ValueError as error:
        raise ValueError(f"weights cannot be loaded: {error}") from error
    source = {layer.name: layer for layer in saved.layers}
    misfits = []
    for layer in model.layers:
        wanted = [tuple(w.shape) for w in layer.weights]
        found = source[layer.name].weights if layer.name in source else []
        if wanted != [tuple(w.shape) for w in found]:
            misfits.append(f"{layer.name} {wanted}")
    if misfits:
        raise ValueError(f"{path} does not have these layers in these shapes: {', '.join(misfits)}")
    different = attention_differences(model, saved)
    if different:
        raise ValueError(
            f"attention would compute something else from the weights of {path} (there) than the "
            f"network that was saved: {first_of(different)}; give attention_module the same options"
        )
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(source[layer.name].get_weights())
    finalize_layers(model)
