"""Forty classes of four data sets in one shape: grey images of 16x16.

Classes 0-9 are MNIST's digits, 10-19 the clothes of Fashion-MNIST, 20-29 the objects of
CIFAR-10 in grey, 30-39 the digits of USPS. MNIST and Fashion-MNIST get two black pixels
around each image; they and CIFAR-10 are then means of 2x2 pixels, USPS is 16x16 as it
comes. Of every class at most `TRAIN` and `TEST` images are kept, drawn by a fixed seed, so
that no data set outweighs another. Results on it are not results on any of the four.

With ``--data DIR`` the folder holds all four; ``cifar10_jpeg``, the lossy copy, stands in
where ``cifar10`` is not there, and the fingerprint tells the two apart.
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
"""Images of each class, at most: what the rarest class of USPS has."""

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLASSES = (
    *(f"handwritten digit {name}" for name in _DIGITS),
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
    *(f"digit {name} of a postal code" for name in _DIGITS),
)  # fmt: skip
"""What each label shows."""


def _load(task: Task, directory: Path | None) -> Data:
    copied = directory is not None and find_file(cifar10, directory) is None
    sources = (mnist, fashion_mnist, cifar10_jpeg if copied else cifar10, usps)
    parts = []
    for number, source in enumerate(sources):
        raw = read_raw(source, directory)
        kept = [
            _some(y, most, f"jungle {source.name} {most}")
            for y, most in ((raw.y, TRAIN), (raw.y_test, TEST))
        ]
        x, x_test = (
            _small(images[some] * np.float32(raw.scale))
            for images, some in zip((raw.x, raw.x_test), kept, strict=True)
        )
        y, y_test = raw.y[kept[0]] + 10 * number, raw.y_test[kept[1]] + 10 * number
        parts.append((x, y, x_test, y_test))
    x, y, x_test, y_test = (np.concatenate(some) for some in zip(*parts, strict=True))
    return prepare(task, Raw(x, y, x_test, y_test, 1 / 255))


def _some(labels: Array, most: int, purpose: str) -> Array:
    """Positions of at most so many images of each class, in order."""
    draw = stream(0, purpose)
    kept = [
        draw.permutation(np.flatnonzero(labels == label))[:most]
        for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(kept))


def _small(images: Array) -> Array:
    """Images in [0, 1] of any of the four sources as bytes (N, 1, 16, 16)."""
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
