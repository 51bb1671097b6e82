"""Points x in [0, 2 pi) and t in [0, 1] for the one-dimensional convection equation.

1,024 training, 512 validation and 2,048 test points are drawn uniformly with a fixed seed.
"""

from __future__ import annotations

import hashlib
from math import pi
from pathlib import Path

import numpy as np

from zoo.randomness import stream
from zoo.task import Data, Task

POINTS = {"train": 1_024, "validation": 512, "test": 2_048}


def _load(task: Task, directory: Path | None) -> Data:
    """Draw the points of all splits; the folder is not used."""
    x, digest = {}, hashlib.sha256(f"{task.name} split 1".encode())
    for split, count in POINTS.items():
        points = stream(0, f"convection {split} points").random((count, 2))
        x[split] = (points * (2 * pi, 1.0)).astype(np.float32)
        digest.update(x[split].data)
    y = {split: np.zeros(count, np.int64) for split, count in POINTS.items()}
    zero, one = np.zeros(2, np.float32), np.ones(2, np.float32)
    return Data(task, x, y, zero, one, 1.0, digest.hexdigest()[:32])


convection = Task(
    "convection",
    "1-D convection equation",
    (2,),
    1,
    POINTS["validation"],
    objective="convection",
    loader=_load,
)
