"""One container for everything that is fitted: with a version, a kind and a digest.

A file is safetensors: arrays as tensors, the rest as JSON text in its header. Nothing in it
is code. The header begins with a digest over all other bytes of the file: what has changed
is refused, whichever byte it is. ``catalog/FORMAT.md`` describes it.
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
"""Keys of the header; files of before have neither, and one changed byte spoils one."""
_AT = 8 + len('{"__metadata__":{"digest":"')
"""Where the digest stands: it is the first text of the header."""
_BLANK = "0" * 64
"""In its place while it is computed."""


@dataclass(frozen=True)
class Kind:
    """A kind of fitted thing, and how its files are written and read.

    Attributes
    ----------
    name : str
        As the header says it; also the key of its JSON text.
    noun : str
        For messages: "probe".
    newest : int
        Newest format of its JSON text; it is kept there, and older ones are read.
    advice : str
        A sentence about a file that holds something else: "Write one with its save()."
    instead : str, default="name another file"
        What a user may do if a file cannot be written; the end of a sentence.
    format_key : str, default="format"
        Where the JSON text says its format.

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
        """Write a file; the one before stays until this one is whole.

        Parameters
        ----------
        path : str or Path
        body : mapping
            JSON values.
        tensors : mapping of str to Tensor

        Raises
        ------
        CatalogError
            If safetensors has no such tensor, or the file cannot be written.
        """
        text = json.dumps({self.format_key: self.newest, **body})
        told = {_VERSION: str(VERSION), _KIND: self.name, self.name: text}
        digest = hashlib.sha256()
        for block in file_blocks(tensors, {"digest": _BLANK, **told}):
            digest.update(block)
        told = {"digest": digest.hexdigest(), **told}
        with whole_file(path, instead=self.instead) as file:
            for block in file_blocks(tensors, told):
                file.write(block)

    def read(self, path: str | Path) -> tuple[dict[str, Any], dict[str, Array]]:
        """Give the JSON values and the arrays of a file.

        Raises
        ------
        ShardCorrupt
            If a byte has changed since it was written.
        CatalogError
            If the file holds something else, or was written by a newer version.
        """
        body = self.body(path)
        tensors = read_tensors(Path(path))
        return body, {name: tensor.values for name, tensor in tensors.items()}

    def body(self, path: str | Path, *, checked: bool = True) -> dict[str, Any]:
        """Give the JSON values of a file.

        Parameters
        ----------
        path : str or Path
        checked : bool, default=True
            Compare all of the file with its digest; else its head alone is read.

        Raises
        ------
        ShardCorrupt, CatalogError
            As `read`.
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
        """Tell what of a file is odd, whatever that leads to; see `as_written`."""
        return as_written(path, f"a {self.noun}", _again(path))


def check(path: Path) -> bool:
    """Compare a file of any kind and version with its digest.

    Returns
    -------
    bool
        False if it has none: an earlier version wrote it, or another program.

    Raises
    ------
    ShardCorrupt
        If a byte has changed since it was written.
    CatalogError
        If it is no safetensors file any more.
    """
    metadata = read_header(path).metadata
    try:
        if _VERSION in metadata or _KIND in metadata:
            told, found = _digests(path)
        elif "digest" in metadata or "generator" in metadata:
            told, found = earlier_digests(path, metadata)
        else:
            return False
    except OSError as error:
        raise ShardCorrupt(f"{path} cannot be read: {error.strerror}.") from error
    if told != found:
        raise ShardCorrupt(
            f"{path} has changed since it was written: its digest is {found[:12]}..., "
            f"{told[:12]!r}... was expected. {_again(path)}"
        )
    return True


def _digests(path: Path) -> tuple[str, str]:
    """The digest in a file, and that of the file."""
    with path.open("rb") as file:
        start = file.read(_AT + len(_BLANK))
        digest = hashlib.sha256(start[:_AT] + _BLANK.encode())
        hashlib.file_digest(file, lambda: digest)
    return start[_AT:].decode("ascii", "replace"), digest.hexdigest()


def _newer(path: Path) -> CatalogError:
    return CatalogError(
        f"{path} was written by a newer version. Upgrade: pip install -U phasezoo"
    )


def _again(path: str | Path) -> str:
    return (
        "Fetch the file again, or delete it and fit again: "
        f"rm {'./' if str(path).startswith('-') else ''}{word(path)}"
    )
