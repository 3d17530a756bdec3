"""scikit-learn's handwritten digits, which are part of that package."""

import numpy as np

from .dataset import Dataset, LoadOptions


def load_digits(options: LoadOptions) -> Dataset:
    """Loads the 1,797 digits: 8x8 pixels in 17 levels of gray, 360 of them for the test."""
    import sklearn.datasets
    import sklearn.model_selection

    digits = sklearn.datasets.load_digits()
    images = np.rint(digits.images * (255 / 16)).astype("uint8")[..., None]
    x_train, x_test, y_train, y_test = sklearn.model_selection.train_test_split(
        images, digits.target, test_size=360, stratify=digits.target, random_state=0
    )
    names = tuple(map(str, digits.target_names))
    return Dataset("digits", x_train, y_train, x_test, y_test, names, crop_padding=1, flips=False)
