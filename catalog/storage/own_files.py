"""Protection of the files of a catalogue from being overwritten."""

from __future__ import annotations

import os
from pathlib import Path

from catalog.errors import CatalogError

_NAMES = frozenset((
    "HEAD", "README.md", "cache", "card", "checkpoints", "chunks", "croissant.json",
    "manifests", "measures", "runs", "snapshots", "tensor_stats", "tensors", "tombstones",
    "weights", "writers",
))  # fmt: skip
"""Names in the folder of a catalogue that only the catalogue writes."""


def check_foreign(path: Path) -> None:
    """Check that a path is neither a catalogue nor one of the files of a catalogue.

    Raises
    ------
    CatalogError
        If writing to the path would replace files of a catalogue.
    """
    real_path = Path(os.path.realpath(path))
    child = real_path
    for folder in (real_path, *real_path.parents):
        is_catalogue = (folder / "manifests").is_dir() and (folder / "snapshots").is_dir()
        if is_catalogue and (folder == real_path or child.name in _NAMES):
            raise CatalogError(
                f"Writing {path} would replace files of the catalogue {folder} and make "
                "it unreadable. Name a place outside of the catalogue."
            )
        child = folder
