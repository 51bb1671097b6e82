"""Files that the card of a published catalogue shows: a table of `models`, and pictures.

They are named by their content, derived, and needed by no reader. Those that neither
README.md nor croissant.json names are leftovers.
"""

from __future__ import annotations

import re
from pathlib import Path

CARD_FOLDER = "card"
"""Folder of the files."""

CARD_FILE = re.compile(
    rf"{CARD_FOLDER}/(?:models|phases)-([0-9a-f]{{12}})\.(?:parquet|png)"
)
"""Paths of the files; group 1 is the beginning of the sha256."""

DESCRIPTIONS = ("README.md", "croissant.json")
"""Files at the root that name them."""

_LARGEST = 64 << 20


def named_in(text: str) -> set[str]:
    """Return the paths of files of a card that a description names."""
    return {match[0] for match in CARD_FILE.finditer(text)}


def unnamed(root: Path) -> list[Path]:
    """Return the files of a card that no description in a folder names.

    There are none as long as README.md is missing or a description cannot be read: they may
    be in the middle of a copy.
    """
    folder = root / CARD_FOLDER
    if folder.is_symlink() or not folder.is_dir() or not (root / "README.md").is_file():
        return []
    paths = {
        f"{CARD_FOLDER}/{path.name}": path
        for path in folder.iterdir()
        if path.is_file() and not path.is_symlink()
    }
    for name in DESCRIPTIONS:
        path = root / name
        if path.is_symlink() or (path.exists() and path.stat().st_size > _LARGEST):
            return []
        if path.is_file():
            for named in named_in(path.read_text(errors="replace")):
                paths.pop(named, None)
    return sorted(path for name, path in paths.items() if CARD_FILE.fullmatch(name))
