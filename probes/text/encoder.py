"""What turns text into vectors: any callable, or one that has a name here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from catalog.dtypes import Array

Encoder = Callable[[list[str]], Array]
"""Takes m texts, returns an array (m, e)."""

TEMPLATE = "a photo of a {}"
"""The prompt of CLIP and of ProbeX."""
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
"""Prompts whose mean says more about a name than one of them, as in CLIP."""


class NamedEncoder(ABC):
    """An encoder that a saved probe finds again by its name."""

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def __call__(self, texts: list[str]) -> Array:
        """Vectors (m, e) of m texts."""
