"""Fashion-MNIST at 16x16: images are padded by two black pixels, then averaged over 2x2.

The task uses the files and splits of Fashion-MNIST at a quarter of the cost. Results on
this task are not results on Fashion-MNIST.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from catalog.dtypes import Array
from zoo.task import Data, Task, prepare, read_raw
from zoo.tasks.fashion_mnist import fashion_mnist


def _halved(images: Array) -> Array:
    """Reduce images of 28x28 bytes to 16x16 bytes, with the channel first."""
    images = images.reshape(len(images), 28, 28)
    cells = np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(-1, 16, 2, 16, 2)
    return np.rint(cells.mean((2, 4), dtype=np.float32)).astype(np.uint8)[:, None]


def _load(task: Task, directory: Path | None) -> Data:
    """Load Fashion-MNIST and reduce its images."""
    raw = read_raw(fashion_mnist, directory)
    return prepare(task, replace(raw, x=_halved(raw.x), x_test=_halved(raw.x_test)))


fashion_mnist_16 = Task(
    "fashion_mnist_16",
    "Fashion-MNIST at 16x16",
    (1, 16, 16),
    10,
    5_000,
    loader=_load,
)
