"""Refusal of addresses where a folder is needed."""

from __future__ import annotations

from pathlib import Path

from catalog.console.pasting import word
from catalog.errors import CatalogError


def check_local(path: str | Path | None) -> None:
    """Check that a catalogue that will be changed is a folder.

    Raises
    ------
    CatalogError
        If it is the address of a remote catalogue; the message says how to fetch it.
    """
    if "://" in str(path):
        raise CatalogError(
            f"{path} is remote, and this changes a catalogue or keeps files in it. Fetch "
            f"it first: phasezoo fetch {word(str(path))} --catalog DIR"
        )
