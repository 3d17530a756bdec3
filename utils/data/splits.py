"""The validation split of a training set."""

import numpy as np

from ..system.errors import UserError


def validation_indices(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits a training set, with the same share of every class.

    Args:
        labels: int array `(n,)`.
        fraction: float in [0, 1), the share to hold out; 0 holds out nothing.
        seed: int.

    Returns:
        Two sorted int arrays: the indices to train on, and those to validate on.

    Raises:
        UserError: the fraction leaves a class without an image on one side.
    """
    everything = np.arange(len(labels))
    if fraction == 0:
        return everything, everything[:0]
    import sklearn.model_selection

    try:
        train, validation = sklearn.model_selection.train_test_split(
            everything, test_size=fraction, stratify=labels, random_state=seed % 2**32
        )
    except ValueError as error:
        raise UserError(f"validation split {fraction} of {len(labels)} images: {error}") from None
    return np.sort(train), np.sort(validation)
