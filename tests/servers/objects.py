"""Contents of files by their hashes, as git and LFS name them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

LFS = "version https://git-lfs.github.com/spec/v1"


def git_hash(content: bytes) -> str:
    """Hash content as git does a blob."""
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()


@dataclass(frozen=True)
class Blob:
    """A file of a commit; ``oid`` is git's, for LFS that of the pointer."""

    oid: str
    size: int
    sha256: str
    lfs: bool

    @classmethod
    def of(cls, sha256: str, path: Path, lfs: bool) -> Blob:
        """Describe an object."""
        size = path.stat().st_size
        pointer = f"{LFS}\noid sha256:{sha256}\nsize {size}\n"
        oid = git_hash(pointer.encode() if lfs else path.read_bytes())
        return cls(oid, size, sha256, lfs)


class Objects:
    """Contents by their SHA-256, as files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Say where an object is, if it is."""
        return self.folder / sha256

    def add(self, content: bytes) -> str:
        """Keep content."""
        sha256 = hashlib.sha256(content).hexdigest()
        whole = self.path(sha256)
        if not whole.exists():
            part = whole.with_suffix(f".{id(content)}")
            part.write_bytes(content)
            part.replace(whole)
        return sha256
