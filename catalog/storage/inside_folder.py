"""Checks that the paths of a catalogue or an import source stay inside its folder.

Nothing outside of the folder is read, written or deleted. A folder from a stranger may
hold links that lead elsewhere, and pipes that never end. The folder itself may be a link,
and links inside it may lead to each other.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from catalog.console.pasting import word
from catalog.errors import CatalogError, ShardCorrupt
from catalog.storage.whole_file import refusals


def check_inside(root: Path, path: Path) -> None:
    """Check that a path below a catalogue stays inside and is a file or folder.

    A missing path passes; opening it later raises an error.

    Raises
    ------
    ShardCorrupt
        If the path leads outside (the error names the link and its target), is a pipe or
        a device, or cannot be read.
    """
    current, mode = str(root), stat.S_IFDIR
    try:
        for part in path.relative_to(root).parts:
            current = os.path.join(current, part)
            mode = os.lstat(current).st_mode
            if stat.S_ISLNK(mode):
                if leads_outside(root, path):
                    raise ShardCorrupt(
                        f"{current} is a link that leads out of the catalogue, to "
                        f"{os.path.realpath(current)}. Only files inside it are read and "
                        f"written. If you trust them, copy them: cp -rL {word(root)} NEW"
                    )
                mode = os.stat(path).st_mode
                break
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise ShardCorrupt(f"{os.path.dirname(current)} is not a folder.") from error
    except OSError as error:
        if isinstance(error, CatalogError):
            raise
        raise ShardCorrupt(f"{path} cannot be read: {error.strerror}.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ShardCorrupt(f"{path} is a pipe or a device; expected a file.")


def folder_inside(root: Path, name: str) -> Path:
    """Create a folder of a catalogue, but not the catalogue itself, and return its path.

    Raises
    ------
    ShardCorrupt
        If the folder is a link that leads outside, or is not a folder.
    CatalogError
        If the folder cannot be created.
    """
    path = root / name
    check_inside(root, path)
    with refusals(path, "name another file with --to FILE"):
        path.mkdir(exist_ok=True)
    return path


def leads_outside(folder: Path, path: Path) -> bool:
    """Report if a path below a folder leads out of it, after all links are followed.

    A snapshot in the cache of huggingface-hub consists of links to ``blobs/`` beside
    ``snapshots/``; these links do not count as leading out.
    """
    home, target = os.path.realpath(folder), os.path.realpath(path)
    allowed = [home]
    if re.fullmatch(r".*/snapshots/[0-9a-f]{40}", home):
        allowed.append(os.path.join(home[: home.rindex("/snapshots/")], "blobs"))
    return all(os.path.commonpath([place, target]) != place for place in allowed)


def check_source(source: Path) -> None:
    """Check that a foreign folder has no links that lead out of it, and no pipes.

    Raises
    ------
    CatalogError
        If it has some; the error names the first one.
    """
    if not source.is_dir():
        return
    for folder, folders, files in os.walk(source):
        for name in sorted([*folders, *files]):
            check_beside(source, Path(folder) / name)


def check_beside(folder: Path, path: Path) -> None:
    """Check that a file of a foreign folder is not a link out of it, nor a pipe.

    A missing file passes; opening it later raises an error.

    Raises
    ------
    CatalogError
        If the file is such a link, a pipe or a device, or cannot be read.
    """
    try:
        mode = path.lstat().st_mode
        linked = stat.S_ISLNK(mode)
        if linked and leads_outside(folder, path):
            raise CatalogError(
                f"{path} is a link that leads out of {folder}, to "
                f"{os.path.realpath(path)}, and is not followed. If you trust it, "
                f"import a copy: cp -rL {word(folder)} NEW"
            )
        mode = path.stat().st_mode if linked else mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise CatalogError(f"{path} is a pipe or a device and cannot be imported.")
