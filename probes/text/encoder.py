"""Text encoders: any callable, or a named encoder of this package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from catalog.dtypes import Array

Encoder = Callable[[list[str]], Array]
"""Function from m texts to an array (m, e)."""

TEMPLATE = "a photo of a {}"
"""Prompt of CLIP and ProbeX."""
TEMPLATES = (
    TEMPLATE,
    "{}",
    "a picture of a {}",
    "an image showing a {}",
    "this is a {}",
    "a drawing of a {}",
    "the word {}",
    "a blurry photo of a {}",
    "a grey image of a {}",
)
"""Prompts to average, as in CLIP: their mean represents a name better than one prompt."""


class NamedEncoder(ABC):
    """Base class of encoders that a saved probe refers to by name."""

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def __call__(self, texts: list[str]) -> Array:
        """Return vectors (m, e) of m texts."""
