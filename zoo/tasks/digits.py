"""Digits of scikit-learn: 1,797 images of 8x8 that are part of the library.

The data set has no official test split, so 300 samples are drawn with a fixed seed.
"""

import numpy as np

from zoo.randomness import stream
from zoo.task import Raw, Task

TEST = 300


def _load() -> Raw:
    """Read the images from scikit-learn and split off the test samples."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 1, 8, 8).astype(np.uint8)
    order = stream(0, "digits test split").permutation(len(x))
    test, rest = np.sort(order[:TEST]), np.sort(order[TEST:])
    return Raw(x[rest], y[rest], x[test], y[test], 1 / 16)


digits = Task("digits", "scikit-learn digits", (1, 8, 8), 10, 297, embedded=_load)
