"""This project's networks, and plain ones, without data or augmentation, ready to be timed."""

import numpy as np

from benchmarks.plain_networks import plain_cbam, plain_resnet20, plain_resnet50, plain_se

NETWORKS = {  # name -> plain network, this project's, batch, image side, classes
    "resnet20": (plain_resnet20, ("resnet_v1", {"depth": 20}), 128, 32, 10),
    "resnet50": (plain_resnet50, ("resnet", {"depth": 50, "stem": "imagenet"}), 8, 224, 1000),
}
# of these there is no plain network: this project's, batch, image side, classes
OTHERS = {
    "resnet18": (("resnet", {"depth": 18, "stem": "cifar"}), 128, 32, 10),
    "resnet_v2": (("resnet_v2", {"depth": 20}), 128, 32, 10),
    "mobilenet": (("mobilenet", {}), 128, 32, 10),
    "densenet": (("densenet", {"depth": 40}), 64, 32, 10),
    "resnext": (("resnext", {"depth": 29}), 32, 32, 10),
    "inception_v3": (("inception_v3", {}), 32, 32, 10),
}
PLAIN = {"none": None, "se_block": plain_se, "cbam_block": plain_cbam}


def network(name, module, **options):
    """Builds a network from an image to logits, with an attention module or `"none"`."""
    from models import build_model

    module = None if module == "none" else module
    return build_model(name, **options, classifier_activation=None, attention_module=module)


def own_network(name, module):
    """Builds this project's network of `NETWORKS` or `OTHERS`, and returns it with its batch."""
    (model, options), batch, side, classes = (
        NETWORKS[name][1:] if name in NETWORKS else OTHERS[name]
    )
    shape = (side, side, 3)
    return network(model, module, **options, input_shape=shape, classes=classes), batch


def compared_network(kind, module, of):
    """Builds one of `NETWORKS` to logits, `"plain"` or `"ours"`, with one of `PLAIN` in it."""
    plain, (name, options), _, side, classes = NETWORKS[of]
    shape = (side, side, 3)
    if kind == "plain":
        return plain(PLAIN[module], shape, classes)
    return network(name, module, **options, input_shape=shape, classes=classes)


def steps_of(model, batch):
    """Compiles a network, and feeds it one random batch.

    Args:
        model: Keras model from images of known size to logits.
        batch: int, images.

    Returns:
        A function that runs one training step, and one that predicts the batch.
    """
    import keras

    from utils.system.backend import jit_compile

    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, *model.input_shape[1:]))
    images = keras.ops.convert_to_tensor(images, "float32")
    labels = rng.integers(0, model.output_shape[-1], batch)
    labels = keras.ops.convert_to_tensor(labels, "int32")
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile(),
    )
    return lambda: model.train_on_batch(images, labels), lambda: model.predict_on_batch(images)
