"""Folders outside the catalogue that a user allows queries to read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from catalog.errors import NotFound


def allowed_folders(allow: str | Path | Sequence[str | Path]) -> list[str]:
    """Return the absolute paths of folders, both as given and with links followed.

    Raises
    ------
    NotFound
        If a path does not exist or is not a folder.
    """
    paths = []
    for folder in [allow] if isinstance(allow, str | Path) else allow:
        if not os.path.isdir(folder):
            problem = "is not a folder" if os.path.exists(folder) else "does not exist"
            raise NotFound(f"{folder} {problem}. Allow the folder that holds the files.")
        paths += [os.path.abspath(folder), os.path.realpath(folder)]
    return list(dict.fromkeys(paths))
