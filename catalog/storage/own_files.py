"""Refusal to write over what a catalogue is made of."""

from __future__ import annotations

import os
from pathlib import Path

from catalog.errors import CatalogError

_OWN = frozenset((
    "HEAD", "README.md", "cache", "checkpoints", "chunks", "manifests", "measures", "runs",
    "snapshots", "tensor_stats", "tensors", "tombstones", "weights", "writers",
))  # fmt: skip
"""Names in the folder of a catalogue that it alone writes."""


def check_foreign(path: Path) -> None:
    """Refuse a path where a catalogue keeps its own files, or that is a catalogue.

    Raises
    ------
    CatalogError
        If it is one.
    """
    place = Path(os.path.realpath(path))
    inner = place
    for folder in (place, *place.parents):
        catalogue = (folder / "manifests").is_dir() and (folder / "snapshots").is_dir()
        if catalogue and (folder == place or inner.name in _OWN):
            raise CatalogError(
                f"{path} would replace files of the catalogue {folder}, which could not be "
                "read any more. Name a place outside of it."
            )
        inner = folder
