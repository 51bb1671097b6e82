"""Files of the user that appear whole or not at all, and destroy nothing before that."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from catalog.errors import CatalogError


def check_free(path: Path, *, force: bool) -> None:
    """Refuse a file that is there, unless it may be replaced, and what is no file.

    Raises
    ------
    CatalogError
        If the path is taken.
    """
    if path.is_dir():
        raise CatalogError(f"{path} is a folder, a file was to be written.")
    if os.path.lexists(path) and not force:
        raise CatalogError(f"{path} exists. Replace it with --force, or name another.")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its name when all is written; its folder is made.

    If anything fails, nothing is left of it, and what was there before still is.

    Raises
    ------
    CatalogError
        If it cannot be written.
    """
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, CatalogError):
            raise
        raise CatalogError(
            f"Cannot write {path}: {error.strerror or error}. Name another with --to."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
