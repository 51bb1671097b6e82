"""Trials of `test_whole_file`: ``whole_file_trials.py FOLDER``, prints how many ends.

Files and folders are written by children that are killed, or refused by the system, before
each of their steps in turn. What stood there before is there, or what was to be written;
then writing again completes, and nothing else is left.
"""

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from ending import end_at, forked

from catalog import CatalogError
from catalog.storage import whole_folder
from catalog.storage.whole_file import whole_file
from catalog.storage.whole_folder import whole_folder as folder_of_files


def write_file(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())
        file.flush()
        file.write(text.encode())


def write_folder(path: Path, text: str) -> None:
    with folder_of_files(path) as folder:
        (folder / "deep").mkdir()
        for name in ("a", "b", "deep/c"):
            (folder / name).write_text(text)


def content(path: Path) -> dict[str, str]:
    """Texts by name; empty if there is nothing."""
    if path.is_file():
        return {"": path.read_text()}
    names = [p for p in path.rglob("*") if p.is_file()]
    return {str(p.relative_to(path)): p.read_text() for p in names}


def kept_aside(path: Path) -> Path | None:
    """Where the folder before stands, if it was killed while another took its place."""
    return next(path.parent.glob(".x.out.*.before"), None)


def put_back(path: Path) -> None:
    """Begin to write once more, and give up."""
    try:
        with folder_of_files(path):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


def trials(folder: Path, write: Callable[[Path, str], None], before: bool) -> int:
    """End at each step, in each way; the number of ends."""
    folder.mkdir()
    path, ends = folder / "x.out", 0
    write(path, "new")
    new = content(path)
    write(path, "old")
    old = content(path)
    assert content(path) != new
    for error in (0, errno.ENOSPC):
        for step in range(1, 100):
            if before:
                write(path, "old")
            else:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

            def doomed(step: int = step, error: int = error) -> None:
                end_at(folder, step, error=error)
                try:
                    write(path, "new")
                except CatalogError as refusal:
                    told = f"Cannot write {path}: No space left on device. Free some"
                    raise SystemExit(3 if str(refusal).startswith(told) else 4) from None

            status = os.waitpid(forked(doomed), 0)[1]
            if status == 0:
                break
            assert os.WIFSIGNALED(status) if not error else os.WEXITSTATUS(status) == 3
            ends += 1
            if not path.exists() and kept_aside(path) and whole_folder.exchange is no_swap:
                put_back(path)
            found = content(path)
            assert found in (old if before else {}, new), (step, error, found)
            if error:
                assert os.listdir(folder) in ([], ["x.out"]), os.listdir(folder)
            write(path, "new")
            assert content(path) == new
            assert os.listdir(folder) == ["x.out"], (step, error, os.listdir(folder))
        else:
            raise AssertionError("the steps have no end")
    return ends


def no_swap(one: Path, other: Path) -> bool:
    """As a system that cannot exchange two names."""
    return False


def main(root: Path) -> None:
    os.fsync = lambda descriptor: None  # a kill does not lose what was written
    ends = 0
    for swaps in (True, False):
        if not swaps:
            whole_folder.exchange = no_swap
        for before in (True, False):
            for write in (write_file, write_folder):
                name = f"{write.__name__} {before} {swaps}"
                ends += trials(root / name.replace(" ", "-"), write, before)
    sys.stdout.write(f"{ends}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
