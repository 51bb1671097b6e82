"""Forty classes of four data sets as grey images of 16x16.

Classes 0-9 are MNIST's digits, 10-19 the clothes of Fashion-MNIST, 20-29 the objects of
CIFAR-10 in grey, 30-39 the digits of USPS. Images of MNIST and Fashion-MNIST are padded by
two black pixels; then these images and those of CIFAR-10 are averaged over 2x2 pixels.
Images of USPS already have 16x16 pixels. At most `TRAIN` and `TEST` images of every class
are kept, drawn with a fixed seed, so that no data set outweighs another. Results on this
task are not results on any of the four data sets.

With ``--data DIR`` the folder must contain all four data sets. If ``cifar10`` is not in the
folder, its lossy copy ``cifar10_jpeg`` is used; the fingerprints of the two differ.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from catalog.dtypes import Array
from zoo.randomness import stream
from zoo.task import Data, Raw, Task, find_file, prepare, read_raw
from zoo.tasks.cifar10 import cifar10
from zoo.tasks.cifar10_jpeg import cifar10_jpeg
from zoo.tasks.fashion_mnist import fashion_mnist
from zoo.tasks.mnist import mnist
from zoo.tasks.usps import usps

TRAIN, TEST = 540, 140
"""Largest number of images per class: the number of the rarest class of USPS."""

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLASSES = (
    *(f"handwritten digit {name}" for name in _DIGITS),
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
    *(f"digit {name} of a postal code" for name in _DIGITS),
)  # fmt: skip
"""Description of each class."""


def _load(task: Task, directory: Path | None) -> Data:
    """Pool the four data sets."""
    use_jpeg = directory is not None and find_file(cifar10, directory) is None
    sources = (mnist, fashion_mnist, cifar10_jpeg if use_jpeg else cifar10, usps)
    parts = []
    for number, source in enumerate(sources):
        raw = read_raw(source, directory)
        picks = [
            _sample(y, count, f"jungle {source.name} {count}")
            for y, count in ((raw.y, TRAIN), (raw.y_test, TEST))
        ]
        x, x_test = (
            _small(images[rows] * np.float32(raw.scale))
            for images, rows in zip((raw.x, raw.x_test), picks, strict=True)
        )
        y, y_test = raw.y[picks[0]] + 10 * number, raw.y_test[picks[1]] + 10 * number
        parts.append((x, y, x_test, y_test))
    x, y, x_test, y_test = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return prepare(task, Raw(x, y, x_test, y_test, 1 / 255))


def _sample(labels: Array, count: int, purpose: str) -> Array:
    """Return the sorted positions of at most ``count`` random images of each class."""
    generator = stream(0, purpose)
    picks = [
        generator.permutation(np.flatnonzero(labels == label))[:count]
        for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(picks))


def _small(images: Array) -> Array:
    """Convert images in [0, 1] of any of the four data sets to bytes (N, 1, 16, 16)."""
    if images.shape[-1] == 3:
        images = images.mean(-1)
    elif images.ndim == 4:
        images = images.mean(1)
    if images.shape[-1] == 28:
        images = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    if images.shape[-1] == 32:
        images = images.reshape(-1, 16, 2, 16, 2).mean((2, 4))
    return np.rint(255 * images).astype(np.uint8)[:, None]


jungle = Task(
    "jungle",
    "MNIST, Fashion-MNIST, grey CIFAR-10 and USPS at 16x16",
    (1, 16, 16),
    40,
    1_600,
    loader=_load,
    class_names=CLASSES,
)
