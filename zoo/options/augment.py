"""Random augmentation of images at every step: crops, flips, rotations.

An augmentation applies torchvision's ``RandomCrop(padding=4)``, ``RandomHorizontalFlip``
and ``RandomRotation(20)`` (nearest pixel) in that order, composed into one map of pixels.
Pixels from outside the image are black.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
import torch
from torch import Tensor

from catalog import NotFound
from catalog.dtypes import Array
from catalog.errors import closest


@dataclass(frozen=True)
class Augmentation:
    """Strength of an augmentation.

    Attributes
    ----------
    padding : int
        Maximum number of pixels by which a crop moves the image in each direction.
    flip : bool
        Whether images are mirrored with probability 0.5.
    degrees : float
        Maximum angle in degrees; angles are uniform from ``-degrees`` to ``degrees``.
    """

    padding: int
    flip: bool = False
    degrees: float = 0.0


AUGMENTATIONS = {
    "none": Augmentation(0),
    "flip": Augmentation(0, flip=True),
    "crop": Augmentation(4),
    "crop_flip": Augmentation(4, flip=True),
    "crop_rotate": Augmentation(4, degrees=20),
    "crop_flip_rotate": Augmentation(4, flip=True, degrees=20),
}


def check_augmentation(name: str) -> None:
    """Raise `NotFound` unless there is an augmentation of that name."""
    if name not in AUGMENTATIONS:
        raise NotFound(f"No augmentation {name!r}. {closest(name, AUGMENTATIONS)}")


def augmentation_draws(name: str, generator: np.random.Generator, count: int) -> Array:
    """Draw the random numbers (count, 4) of an augmentation.

    The columns are the shift down and the shift right in pixels, whether the image is
    mirrored (0 or 1), and the angle in radians.
    """
    kind = AUGMENTATIONS[name]
    uniform = generator.random((count, 4), np.float32)
    shift = np.floor(uniform[:, :2] * (2 * kind.padding + 1)) - kind.padding
    mirrored = (uniform[:, 2:3] < 0.5) & kind.flip
    angle = (2 * uniform[:, 3:] - 1) * np.float32(kind.degrees * pi / 180)
    drawn: Array = np.concatenate([shift, mirrored, angle], 1, dtype=np.float32)
    return drawn


def augmented(x: Tensor, drawn: Tensor, black: Tensor) -> Tensor:
    """Return augmented images.

    Parameters
    ----------
    x : Tensor of shape (n, b, c, h, w)
        Images.
    drawn : Tensor of shape (n, b, 4)
        Random numbers of `augmentation_draws`.
    black : Tensor of shape (c, 1, 1)
        Value of a black pixel.
    """
    n, b, c, h, w = x.shape
    down, right, mirrored, angle = (drawn[..., i, None, None] for i in range(4))
    middle_y, middle_x = (h - 1) / 2, (w - 1) / 2
    y = torch.arange(h, device=x.device).view(h, 1) - middle_y
    at = torch.arange(w, device=x.device) - middle_x
    sine, cosine = angle.sin(), angle.cos()
    # Trace each pixel of the result back to its source, so the last step comes first.
    source_y = (cosine * y - sine * at + middle_y).round()
    source_x = (sine * y + cosine * at + middle_x).round()
    inside = (source_y >= 0) & (source_y < h) & (source_x >= 0) & (source_x < w)
    source_x = torch.where(mirrored > 0, w - 1 - source_x, source_x) + right
    source_y = source_y + down
    inside &= (source_y >= 0) & (source_y < h) & (source_x >= 0) & (source_x < w)
    index = (source_y * w + source_x).long().where(inside, 0).view(n, b, 1, h * w)
    moved = x.flatten(3).gather(3, index.expand(n, b, c, h * w)).view(x.shape)
    return torch.where(inside.unsqueeze(2), moved, black)
