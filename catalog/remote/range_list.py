"""The list of the ranges of a remote file that have arrived: a JSON file beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from catalog.remote.spans import Span, merged_spans
from catalog.storage.manifest import File


class RangeList:
    """The list of one file.

    Parameters
    ----------
    path : Path
        Where it is kept.
    file : File
        The remote file; a list of another one with the same path does not count.
    """

    def __init__(self, path: Path, file: File) -> None:
        self._path, self._file = path, file

    def read(self) -> list[Span] | None:
        """Return the ranges; None without a list, or with that of another file."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as opened:
                value = json.loads(opened.read())
            if value["sha256"] != self._file.sha256:
                return None
            spans = [(int(start), int(stop)) for start, stop in value["ranges"]]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        size = self._file.bytes
        return merged_spans([s for s in spans if 0 <= s[0] < s[1] <= size])

    def write(self, spans: Sequence[Span]) -> None:
        """Replace the list; the caller holds the lock of those who add ranges."""
        temporary = self._path.with_suffix(".ranges.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(temporary, flags, 0o666), "w") as opened:
            json.dump({"sha256": self._file.sha256, "ranges": spans}, opened)
        os.replace(temporary, self._path)

    def delete(self) -> None:
        """Delete the list: no range counts as arrived."""
        self._path.unlink(missing_ok=True)
