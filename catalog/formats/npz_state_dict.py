"""Reader of .npz files that hold the state dict of one network each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from catalog.errors import CatalogError
from catalog.formats.format import Network
from catalog.formats.npz import Archive
from catalog.formats.npz_stacked import is_stack
from catalog.formats.source import (
    files_of,
    network,
    network_name,
    rows_beside,
    table_beside,
)


class NpzStateDict:
    """Reader of a file, or of a folder tree with one file per network."""

    name = "npz_state_dict"
    summary = "one .npz per network: NAME -> tensor; csv with a column path, name or id"
    takes_table = True

    def recognises(self, source: Path) -> bool:
        """Return True if the first file has no key with a bar and is not a lone stack."""
        files = files_of(source, ".npz")
        if not files:
            return False
        with Archive(files[0]) as archive:
            keyed = any("|" in name for name in archive.headers)
            stacked = len(files) == 1 and is_stack(archive) and table_beside(files[0], None)
            return bool(archive.headers) and not keyed and not stacked

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        """Yield networks in order of path; see `Format.read`."""
        files = {network_name(source, path): path for path in files_of(source, ".npz")}
        if not files:
            raise CatalogError(f"{source} holds no .npz file.")
        rows, later = rows_beside(source, metadata, list(files))
        for name, path in files.items():
            with Archive(path) as archive:
                tensors = {key: archive.tensor(key) for key in archive.headers}
            yield network(name, tensors, rows[name], later)


FORMAT = NpzStateDict()
