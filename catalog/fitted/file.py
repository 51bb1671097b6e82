"""Container format of all fitted objects, with a version, a kind and a digest.

A file is a safetensors file: arrays are tensors, all other values are JSON text in the
header, and nothing in the file is code. The header begins with a digest over all other
bytes of the file, so a change of any byte is detected and the file is refused.
``catalog/FORMAT.md`` describes the format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.errors import CatalogError, ShardCorrupt
from catalog.fitted.earlier_digests import earlier_digests
from catalog.fitted.unexpected_content import as_written
from catalog.formats.format import Tensor
from catalog.formats.safetensors_file import file_blocks, read_header, read_tensors
from catalog.storage.whole_file import whole_file

VERSION = 1
_VERSION, _KIND = "phasezoo.container", "phasezoo.kind"
"""Keys of the header. Files that predate the container have neither key, and one changed
byte cannot remove both."""
_DIGEST_OFFSET = 8 + len('{"__metadata__":{"digest":"')
"""Byte offset of the digest, which is the first text of the header."""
_EMPTY_DIGEST = "0" * 64
"""Placeholder of the digest while the digest is computed."""


@dataclass(frozen=True)
class Kind:
    """Kind of fitted object, with the methods that write and read its files.

    Attributes
    ----------
    name : str
        Name of the kind in the header; also the key of its JSON text.
    noun : str
        Name of the kind in messages, such as "probe".
    newest : int
        Newest format of the JSON text. The text records its format; files of older formats
        are read, newer ones refused.
    advice : str
        Sentence that ends the error about a file of another kind, such as "Write one with
        its save()."
    instead : str, default="name another file"
        Advice to a user whose file cannot be written; the end of a sentence.
    format_key : str, default="format"
        Key of the format in the JSON text.

    Examples
    --------
    >>> import numpy as np
    >>> kind = Kind("mean", "mean", 1, "Write one with save().")
    >>> path = getfixture("tmp_path") / "mean.safetensors"
    >>> kind.write(path, {"n": 3}, {"mean": Tensor(np.float32([1, 2]), "float32")})
    >>> kind.read(path)
    ({'format': 1, 'n': 3}, {'mean': array([1., 2.], dtype=float32)})
    """

    name: str
    noun: str
    newest: int
    advice: str
    instead: str = "name another file"
    format_key: str = "format"

    def write(
        self, path: str | Path, body: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> None:
        """Write a file atomically; an existing file stays until the new file is complete.

        Parameters
        ----------
        path : str or Path
            The file.
        body : mapping
            JSON values by name.
        tensors : mapping of str to Tensor
            Arrays by name.

        Raises
        ------
        CatalogError
            If safetensors cannot hold one of the tensors, or the file cannot be written.
        """
        text = json.dumps({self.format_key: self.newest, **body})
        metadata = {_VERSION: str(VERSION), _KIND: self.name, self.name: text}
        digest = hashlib.sha256()
        for block in file_blocks(tensors, {"digest": _EMPTY_DIGEST, **metadata}):
            digest.update(block)
        metadata = {"digest": digest.hexdigest(), **metadata}
        with whole_file(path, instead=self.instead) as file:
            for block in file_blocks(tensors, metadata):
                file.write(block)

    def read(self, path: str | Path) -> tuple[dict[str, Any], dict[str, Array]]:
        """Read the JSON values and the arrays of a file.

        Raises
        ------
        ShardCorrupt
            If a byte of the file has changed since it was written.
        CatalogError
            If the file is of another kind, or was written by a newer version.
        """
        body = self.body(path)
        tensors = read_tensors(Path(path))
        return body, {name: tensor.values for name, tensor in tensors.items()}

    def body(self, path: str | Path, *, checked: bool = True) -> dict[str, Any]:
        """Read the JSON values of a file.

        Parameters
        ----------
        path : str or Path
            The file.
        checked : bool, default=True
            Compare the whole file with its digest; if False, only the header is read.

        Raises
        ------
        ShardCorrupt
            If a byte of the file has changed since it was written.
        CatalogError
            If the file is of another kind, or was written by a newer version.
        """
        path = Path(path)
        if checked:
            check(path)
        metadata = read_header(path).metadata
        with self.as_written(path):
            if int(metadata.get(_VERSION, "0")) > VERSION:
                raise _newer(path)
            kind = metadata.get(_KIND, self.name)
            if kind != self.name or self.name not in metadata:
                other = "" if kind == self.name else f" but is of kind {kind[:40]!r}"
                raise CatalogError(f"{path} holds no {self.noun}{other}. {self.advice}")
            body: dict[str, Any] = json.loads(metadata[self.name])
            if body[self.format_key] > self.newest:
                raise _newer(path)
            return body

    def as_written(self, path: str | Path) -> AbstractContextManager[None]:
        """Turn errors that unexpected content causes into `ShardCorrupt`."""
        return as_written(path, f"a {self.noun}", _fetch_or_fit_again(path))


def check(path: Path) -> bool:
    """Compare a file of any kind and version with its digest.

    Returns
    -------
    bool
        True if the digest matches; False if the file has no digest because an earlier
        version or another program wrote it.

    Raises
    ------
    ShardCorrupt
        If a byte of the file has changed since it was written, or the file cannot be read.
    CatalogError
        If the file is not a safetensors file.
    """
    metadata = read_header(path).metadata
    try:
        if _VERSION in metadata or _KIND in metadata:
            expected, actual = _digests(path)
        elif "digest" in metadata or "generator" in metadata:
            expected, actual = earlier_digests(path, metadata)
        else:
            return False
    except OSError as error:
        raise ShardCorrupt(f"{path} cannot be read: {error.strerror}.") from error
    if expected != actual:
        raise ShardCorrupt(
            f"{path} has changed since it was written: its digest is {actual[:12]}..., but "
            f"{expected[:12]!r}... was expected. {_fetch_or_fit_again(path)}"
        )
    return True


def _digests(path: Path) -> tuple[str, str]:
    """Return the digest stored in a file, and the digest of its content."""
    with path.open("rb") as file:
        start = file.read(_DIGEST_OFFSET + len(_EMPTY_DIGEST))
        digest = hashlib.sha256(start[:_DIGEST_OFFSET] + _EMPTY_DIGEST.encode())
        hashlib.file_digest(file, lambda: digest)
    return start[_DIGEST_OFFSET:].decode("ascii", "replace"), digest.hexdigest()


def _newer(path: Path) -> CatalogError:
    return CatalogError(
        f"{path} was written by a newer version. Upgrade: pip install -U phasezoo"
    )


def _fetch_or_fit_again(path: str | Path) -> str:
    return (
        "Fetch the file again, or delete it and fit again: "
        f"rm {'./' if str(path).startswith('-') else ''}{word(path)}"
    )
