"""Text encoder by hashed n-grams of letters, which needs no model.

It is the baseline of encoders: names are similar if they share letters ("cat", "cats").
"""

from __future__ import annotations

import zlib

import numpy as np

from catalog.dtypes import Array
from probes.text.encoder import NamedEncoder

_SIZE = 512


class NGrams(NamedEncoder):
    """Counts of groups of 3 letters within words, hashed to 512 signed values."""

    name = "ngrams"
    summary = "hashed groups of letters: no meaning, no download"

    def __call__(self, texts: list[str]) -> Array:
        """Return vectors (m, 512) of m texts."""
        vectors = np.zeros((len(texts), _SIZE), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in text.lower().split():
                padded = f" {word} "
                for i in range(len(padded) - 2):
                    code = zlib.crc32(padded[i : i + 3].encode())
                    vector[code % _SIZE] += 1 if code >> 31 else -1
        return vectors
