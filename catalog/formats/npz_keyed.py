"""Reader of many networks in one .npz with keys ``id|tensor``, and a csv with ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from catalog.errors import CatalogError
from catalog.formats.format import Network
from catalog.formats.npz import Archive
from catalog.formats.source import network, rows_beside, single_file


class NpzKeyed:
    """Reader of networks of any shapes; keys begin with the name of their network."""

    name = "npz_keyed"
    summary = "one .npz: 'ID|NAME' -> tensor; csv with a column id"
    takes_table = True

    def recognises(self, source: Path) -> bool:
        """Return True for a single .npz file all of whose keys have a bar."""
        path = single_file(source, ".npz")
        if path is None:
            return False
        with Archive(path) as archive:
            return bool(archive.headers) and all("|" in name for name in archive.headers)

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        """Yield networks in the order of their first keys, one in memory at a time."""
        path = single_file(source, ".npz")
        if path is None:
            raise CatalogError(f"{source} must be, or hold, exactly one .npz file.")
        with Archive(path) as archive:
            keys: dict[str, list[str]] = {}
            for key in archive.headers:
                name, bar, _ = key.partition("|")
                if not bar:
                    raise CatalogError(
                        f"{path}: key {key!r} has no '|'; expected ID|TENSOR."
                    )
                keys.setdefault(name, []).append(key)
            rows, later = rows_beside(path, metadata, list(keys))
            for name, network_keys in keys.items():
                tensors = {
                    key.partition("|")[2]: archive.tensor(key) for key in network_keys
                }
                yield network(name, tensors, rows[name], later)


FORMAT = NpzKeyed()
