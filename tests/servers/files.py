"""A web server of the files in a folder, as static hosts are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .answers import Answer, Handler
from .faults import Traffic
from .server import Server


class _Files(Handler):
    """Answers GET and HEAD; folders are not listed."""

    def answer(self) -> Answer:
        """Find the file of a path."""
        if self.command not in ("GET", "HEAD"):
            return Answer(405, b"", {"Allow": "GET, HEAD"})
        root: Path = self.server.owner
        try:
            path = (root / self.asked.path.lstrip("/")).resolve()
            inside = path.is_relative_to(root) and path.is_file()
        except ValueError:  # a null character
            inside = False
        if not inside:
            return Answer(404, b"not found\n", {"Content-Type": "text/plain"})
        status = path.stat()
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        return Answer(200, path, {"ETag": tag, "Content-Type": "application/octet-stream"})


@contextmanager
def serve_files(folder: Path, traffic: Traffic | None = None) -> Iterator[str]:
    """Serve a folder until the end of the block.

    Parameters
    ----------
    folder : Path
        Its files may change meanwhile; an ETag follows time and size.
    traffic : Traffic, optional
        Record and plan of faults.

    Yields
    ------
    str
        URL without a slash at the end.
    """
    server = Server(_Files, traffic or Traffic(), folder.resolve())
    with server.running():
        yield server.url
