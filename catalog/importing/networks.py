"""Import of foreign networks: grouping, typing, checking, and committing all or none.

Networks are streamed: only the weights of one shard and the metadata are in memory. Weights
are staged on disk as the networks are read. Manifests are written only after the last
network was checked; on an error, the staged files are deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from catalog.errors import CatalogError
from catalog.formats.columns import Columns
from catalog.formats.format import Network
from catalog.importing.axes import AxesRule
from catalog.importing.cells import CellColumns
from catalog.importing.intake import Intake
from catalog.importing.parts import ImportedShards
from catalog.importing.symbols import Symbols

SHARD_BYTES = 256 << 20
"""Bytes of weights in memory above which a shard is staged."""

_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*")


@dataclass(frozen=True)
class ImportSummary:
    """Summary of an import.

    Attributes
    ----------
    zoo, format : str
        Name of the zoo, and of the format that read the source.
    networks : int
        Number of checkpoints in the source.
    imported, known : int
        Numbers of checkpoints that were new, and that the catalogue already had.
    runs : int
        Number of runs in the source.
    layouts : int
        Number of different layouts and architectures in the source.
    weights : int
        Number of networks with weights; the other networks are rows of metrics.
    shards : list of str
        Committed shards.
    bytes : int
        Size of the committed weights in bytes.
    symbols : int
        Number of layouts with axis symbols.
    notes : list of str
        Advice about layouts without axis symbols, and about known networks that keep
        their symbols.
    unread : list of str
        Tables in the folder of the source that were not read.
    failed : dict of str to str
        Models of the Hub that were not imported, with the reasons.
    """

    zoo: str
    format: str
    networks: int = 0
    imported: int = 0
    known: int = 0
    runs: int = 0
    layouts: int = 0
    weights: int = 0
    shards: list[str] = field(default_factory=list)
    bytes: int = 0
    symbols: int = 0
    notes: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def import_networks(
    root: str | Path,
    networks: Iterable[Network],
    *,
    zoo: str,
    source_name: str,
    format_name: str = "memory",
    license: str | None = None,
    rename: Mapping[str, str] | None = None,
    percent: Collection[str] = (),
    cells: CellColumns | None = None,
    one_layout: bool = False,
    allow_nonfinite: bool = False,
    axes: AxesRule = "certain",
    progress: Callable[[int], None] | None = None,
    refused: Callable[[str, CatalogError], None] | None = None,
    types: Mapping[str, pa.DataType] | None = None,
) -> ImportSummary:
    """Import networks from memory or from an iterator.

    Most parameters are those of `import_source`.

    Parameters
    ----------
    root : str or Path
        Folder of the catalogue.
    networks : iterable of Network
        The networks.
    zoo, source_name, format_name : str
        Name of the zoo, and of the source and its format in messages.
    cells : CellColumns, optional
        Columns that define the cells of the zoo's grid.
    refused : callable, optional
        Called with the name and the error of every network that is refused; the others are
        then imported. Default: the first error ends the import.
    types : mapping of str to pyarrow.DataType, optional
        Types of columns that exist even if no network has a value.
    """
    symbols = Symbols(axes)
    columns = Columns(rename or {}, percent)
    intake = Intake(zoo, license, columns, cells, allow_nonfinite)
    with ImportedShards(Path(root), zoo) as parts:
        intake.known = parts.known
        for count, network in enumerate(networks, 1):
            try:
                batch, entry = intake.take(symbols.of(network))
            except CatalogError as error:
                if refused is None:
                    raise
                refused(network.name, error)
                continue
            if one_layout:
                intake.check_one_layout(network, batch)
            if entry is not None:
                parts.add(batch, entry, SHARD_BYTES)
            if progress is not None:
                progress(count)
        if not intake.networks and refused is None:
            raise CatalogError(f"{source_name} holds no networks ({format_name}).")
        manifests = intake.finish(parts, types or {})
    batches = [batch for batch, _ in intake.batches.values()]
    return ImportSummary(
        zoo=zoo,
        format=format_name,
        networks=intake.networks,
        imported=intake.networks - intake.skipped,
        known=intake.skipped,
        runs=len(intake.runs),
        layouts=intake.layouts,
        weights=intake.weights,
        shards=[manifest.shard for manifest in manifests],
        bytes=sum(m.files["weights"].bytes for m in manifests if "weights" in m.files),
        symbols=sum(b.layout is not None and bool(b.layout.symbols) for b in batches),
        notes=symbols.notes(intake.skipped),
    )


def check_names(zoo: str, license: str | None) -> None:
    """Raise a CatalogError unless texts can be the name of a zoo and a licence."""
    if license is not None and not _SPDX.fullmatch(license):
        raise CatalogError(
            f"The licence must be an SPDX expression such as MIT or CC-BY-4.0. Got "
            f"{license!r}."
        )
    if not zoo.strip() or not zoo.isprintable():
        raise CatalogError(f"{zoo!r} cannot name a zoo; give another name: --zoo NAME")
