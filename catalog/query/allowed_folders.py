"""Folders beside the catalogue that a user lets queries read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from catalog.errors import NotFound


def allowed_folders(allow: str | Path | Sequence[str | Path]) -> list[str]:
    """Return the absolute names of folders, with links followed and as they are.

    Raises
    ------
    NotFound
        If one is not there, or is no folder.
    """
    found = []
    for folder in [allow] if isinstance(allow, str | Path) else allow:
        if not os.path.isdir(folder):
            what = "is no folder" if os.path.exists(folder) else "is not there"
            raise NotFound(f"{folder} {what}; allow the folder that holds the files.")
        found += [os.path.abspath(folder), os.path.realpath(folder)]
    return list(dict.fromkeys(found))
