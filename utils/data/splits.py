"""The validation split of a training set, and the test split of images that have none."""

from collections.abc import Sequence

import numpy as np

from ..system.errors import UserError


def validation_indices(
    labels: np.ndarray, fraction: float, seed: int, class_names: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Splits a training set, with the same share of every class.

    Args:
        labels: int array `(n,)`.
        fraction: float in [0, 1), the share to hold out; 0 holds out nothing.
        seed: int.
        class_names: sequence of strings, for messages. Defaults to the labels.

    Returns:
        Two sorted int arrays: the indices to train on, and those to validate on.

    Raises:
        UserError: the fraction leaves a class without an image on one side.
    """
    everything = np.arange(len(labels))
    if fraction == 0:
        return everything, everything[:0]
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        single = int(classes[counts < 2][0])
        name = class_names[single] if class_names else single
        raise UserError(
            f"validation split {fraction}: the class {name} has one training image, which cannot "
            "be on both sides; add images, or use --validation-split 0"
        )
    import sklearn.model_selection

    try:
        train, validation = sklearn.model_selection.train_test_split(
            everything, test_size=fraction, stratify=labels, random_state=seed % 2**32
        )
    except ValueError as error:
        raise UserError(
            f"validation split {fraction} of {len(labels)} images: {error}; another fraction is "
            "needed, or --validation-split 0"
        ) from None
    return np.sort(train), np.sort(validation)


def held_out_indices(
    labels: np.ndarray, checksums: Sequence[str], fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Splits images that have no test set, always in the same way.

    Of each class the images with the smallest checksums are for the test. So the choice depends on
    the contents of the files alone, neither on their names nor on a seed.

    Args:
        labels: int array `(n,)`.
        checksums: sequence of n strings, of the images' contents.
        fraction: float in (0, 1), the share of the test, of every class at least one image.

    Returns:
        Two sorted int arrays: the indices to train on, and those to test on. A class with one image
        is not tested.
    """
    test: list[int] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label).tolist()
        members.sort(key=lambda i: (checksums[i], i))
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        test += members[:count]
    return np.setdiff1d(np.arange(len(labels)), test), np.sort(np.array(test, "int64"))
