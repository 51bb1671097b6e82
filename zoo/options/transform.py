"""Transforms of all images of a run's task, as exact maps of their pixels."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from catalog import NotFound
from catalog.dtypes import Array
from catalog.errors import closest
from zoo.randomness import stream

GEOMETRIC: dict[str, Callable[[Array], Array]] = {
    "identity": lambda x: x,
    "rot90": lambda x: np.rot90(x, 1, (-2, -1)),
    "rot180": lambda x: np.rot90(x, 2, (-2, -1)),
    "rot270": lambda x: np.rot90(x, 3, (-2, -1)),
    "flip_lr": lambda x: x[..., ::-1],
    "flip_ud": lambda x: x[..., ::-1, :],
    "transpose": lambda x: x.swapaxes(-1, -2),
}


def check_transform(name: str) -> None:
    """Raise `NotFound` unless there is a transform of that name."""
    if name not in GEOMETRIC and not re.fullmatch(r"permute:\d+|negate", name):
        known = [*GEOMETRIC, "negate", "permute:<seed>"]
        raise NotFound(f"No transform {name!r}. {closest(name, known)}")


def transform(name: str, images: Array) -> Array:
    """Return transformed copies of images of shape ``(N, channels, height, width)``.

    ``permute:<seed>`` permutes the pixels of all images with one fixed permutation per
    seed; ``negate`` flips the sign of normalised inputs, and subtracts bytes from 255.

    Raises
    ------
    NotFound
        If there is no transform of that name.
    """
    check_transform(name)
    if name == "negate":
        return 255 - images if images.dtype == np.uint8 else -images
    if name.startswith("permute:"):
        flat = images.reshape(len(images), images.shape[1], -1)
        order = stream(int(name[8:]), "pixels").permutation(flat.shape[2])
        return np.ascontiguousarray(flat[:, :, order].reshape(images.shape))
    return np.ascontiguousarray(GEOMETRIC[name](images))
