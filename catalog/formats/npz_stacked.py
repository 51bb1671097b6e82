"""Reader of networks stacked in one .npz, with a leading network axis on every array."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from catalog.errors import CatalogError
from catalog.formats.csv_table import CsvTable
from catalog.formats.format import Network, Tensor
from catalog.formats.npz import Archive, ArrayHeader
from catalog.formats.source import network, single_file, table_beside, varying


class NpzStacked:
    """Reader of arrays ``(n, *shape)`` and a csv whose column ``index`` counts from 0.

    A float64 array beside narrower float arrays is read as a constant (the normalisation
    of inputs, for example) unless it is called weight or bias, because networks are not
    trained in such a mixture of types.
    """

    name = "npz_stacked"
    summary = "one .npz: NAME -> (n, *shape); csv with a column index"
    takes_table = True

    def recognises(self, source: Path) -> bool:
        """Return True for a single .npz file that holds a stack, see `is_stack`."""
        path = single_file(source, ".npz")
        if path is None:
            return False
        with Archive(path) as archive:
            return is_stack(archive)

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        """Yield networks in order of the first axis, one in memory at a time."""
        path = single_file(source, ".npz")
        if path is None:
            raise CatalogError(f"{source} must be, or hold, exactly one .npz file.")
        with Archive(path) as archive:
            n = _count(archive)
            table = table_beside(path, metadata)
            order = _by_index(table, n) if table else []
            rows = {str(i): table.row(row) for i, row in enumerate(order)} if table else {}
            later = varying(rows)
            roles = {name: _role(name, archive.headers) for name in archive.headers}
            streams = {name: archive.rows(name) for name in archive.headers}
            for i in range(n):
                tensors = {
                    name: Tensor.from_array(
                        next(stream), f"{path}: {name!r} of network {i}", roles[name]
                    )
                    for name, stream in streams.items()
                }
                yield network(str(i), tensors, rows.get(str(i), {}), later)
            for stream in streams.values():  # reading to the end checks the checksum
                next(stream, None)


def is_stack(archive: Archive) -> bool:
    """Return True if all arrays have first axes of equal size, and no key has a bar."""
    shapes = [header.shape for header in archive.headers.values()]
    keyed = any("|" in name for name in archive.headers)
    return not keyed and all(shapes) and len({shape[0] for shape in shapes if shape}) == 1


def _count(archive: Archive) -> int:
    first = next(iter(archive.headers), None)
    if first is None:
        raise CatalogError(f"{archive.path} holds no arrays.")
    for name, header in archive.headers.items():
        expected = archive.headers[first].shape[:1]
        if not header.shape or header.shape[:1] != expected:
            raise CatalogError(
                f"{archive.path}: {name!r} has shape {header.shape}, but {first!r} says "
                f"that the file holds {expected[0] if expected else 'no'} networks: every "
                "array needs the network axis first."
            )
    return archive.headers[first].shape[0]


def _role(name: str, headers: dict[str, ArrayHeader]) -> str | None:
    narrower = any(h.dtype.kind == "f" and h.dtype.itemsize < 8 for h in headers.values())
    is_float64 = headers[name].dtype == "float64"
    trained = name.rpartition(".")[2] in ("weight", "bias")
    return "constant" if is_float64 and narrower and not trained else None


def _by_index(table: CsvTable, n: int) -> list[int]:
    if len(table) != n:
        raise CatalogError(
            f"{table.path} has {len(table)} rows for {n} networks; every network must have "
            "one row."
        )
    if "index" not in table.columns:
        raise CatalogError(
            f"{table.path} has no column 'index' that counts the networks from 0. Its "
            f"columns are {', '.join(table.columns)}."
        )
    rows = table.keyed("index")
    for i in range(n):
        if str(i) not in rows:
            raise CatalogError(
                f"{table.path}: no row has index = {i}; the indices must run from 0 to "
                f"{n - 1}."
            )
    return [rows[str(i)] for i in range(n)]


FORMAT = NpzStacked()
