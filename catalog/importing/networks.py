"""Foreign networks become shards: grouped, typed, checked, and committed all or none.

Networks stream through: what is in memory is one shard's weights and the metadata.
Weights are staged on disk as they come; no manifest exists before the last network was
found right, and on an error the staged files are deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from catalog.errors import CatalogError
from catalog.formats import find_format
from catalog.formats.columns import Columns
from catalog.formats.format import Network
from catalog.formats.source import unread_tables
from catalog.importing.axes import AxesRule
from catalog.importing.cells import CellColumns
from catalog.importing.grouping import grouped
from catalog.importing.intake import Intake
from catalog.importing.parts import ImportedShards
from catalog.importing.symbols import Symbols
from catalog.storage.inside_folder import check_source

SHARD_BYTES = 256 << 20
"""Weights that wait in memory: a shard is staged when there are more."""

_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*")


@dataclass(frozen=True)
class ImportSummary:
    """What an import did.

    Attributes
    ----------
    zoo, format : str
        Name of the zoo, and of the format that read the source.
    networks : int
        Checkpoints in the source.
    imported, known : int
        How many of them are new, and how many were in the catalogue already.
    runs : int
        Runs of the source.
    layouts : int
        Different layouts and architectures in the source.
    weights : int
        Networks of the source that have weights; the others are rows of metrics.
    shards : list of str
        What was committed.
    bytes : int
        Weights committed, in bytes.
    symbols : int
        How many of the layouts have axis symbols.
    notes : list of str
        What to know about the layouts that have none, if anything.
    unread : list of str
        Tables in the folder of the source that nobody read.
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


def import_source(
    root: str | Path,
    source: str | Path,
    *,
    format: str = "auto",
    zoo: str | None = None,
    license: str | None = None,
    metadata: str | Path | None = None,
    run: str | None = None,
    rename: Mapping[str, str] | None = None,
    percent: Collection[str] = (),
    load: str | None = None,
    temperature: str | None = None,
    one_layout: bool = False,
    allow_nonfinite: bool = False,
    axes: AxesRule = "certain",
    progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import the networks that a file or folder holds; again is a no-op.

    Parameters
    ----------
    root : str or Path
        The catalogue's folder; made if absent.
    source : str or Path
        What somebody published.
    format : str, default="auto"
        Name of a format, or "auto" to ask each whether it recognises the source.
    zoo : str, optional
        Name of the zoo; default: of the file or folder. Part of every ``run_id``.
    license : str, optional
        SPDX expression, such as "CC-BY-4.0".
    metadata : str or Path, optional
        A csv with one row per network; default: one that stands beside the source.
    run : str, optional
        Regular expression with the groups ``run`` and ``step`` that the whole name of
        every network matches, such as ``(?P<run>.*)/e(?P<step>[0-9]+)[.]pt``.
    rename : mapping of str to str, optional
        New names of columns by the published ones.
    percent : collection of str, optional
        Columns, by their new names, to divide by 100.
    load, temperature : str, optional
        Columns, by their new names, whose values make the cells of the zoo's grid.
        Default: what the format knows of its publisher's grid, if anything.
    one_layout : bool, default=False
        Refuse a source whose networks differ in names, shapes, dtypes or order.
    allow_nonfinite : bool, default=False
        Import networks with NaN or infinite weights, as ``finite = false``.
    axes : {"certain", "chain", "none"}, default="certain"
        Where a format does not know which axes permute together: "certain" gives symbols
        if names and shapes prove a plain chain. "chain" says that the layers are one, in
        the order of their names; weights cannot contradict it, and if it is wrong,
        permuting along the symbols changes what a network computes. "none" gives none.
    progress : callable, optional
        Called with the number of networks read so far.

    Returns
    -------
    ImportSummary

    Raises
    ------
    CatalogError
        If anything is wrong with any network, row or file. The catalogue is then as
        it was before.
    """
    path = Path(source)
    check_source(path)
    reader = find_format(format, path)
    beside = None if metadata is None else Path(metadata)
    if beside is not None and not beside.is_file():
        raise CatalogError(f"There is no table {beside}; --metadata names a csv file.")
    if license is not None and not _SPDX.fullmatch(license):
        raise CatalogError(
            f"The licence must be an SPDX expression such as MIT or CC-BY-4.0. Got "
            f"{license!r}."
        )
    name = zoo or _zoo_name(path)
    if not name.strip() or not name.isprintable():
        raise CatalogError(f"{name!r} is no name for a zoo; give one: --zoo NAME")
    networks = _read(reader.read(path, beside), path)
    summary = import_networks(
        root,
        networks if run is None else grouped(networks, run),
        zoo=name,
        source_name=str(path),
        format_name=reader.name,
        license=license,
        rename=rename,
        percent=percent,
        cells=CellColumns.of(load, temperature, getattr(reader, "grid", None)),
        one_layout=one_layout,
        allow_nonfinite=allow_nonfinite,
        axes=axes,
        progress=progress,
    )
    if not getattr(reader, "takes_table", False):
        return summary
    return replace(summary, unread=[str(table) for table in unread_tables(path, beside)])


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
) -> ImportSummary:
    """Import networks that stand in memory or come one by one; see `import_source`."""
    symbols = Symbols(axes)
    columns = Columns(rename or {}, percent)
    intake = Intake(zoo, license, columns, cells, allow_nonfinite)
    with ImportedShards(Path(root), zoo) as parts:
        intake.known = parts.known
        for count, network in enumerate(networks, 1):
            batch, entry = intake.take(symbols.of(network))
            if one_layout:
                intake.check_one_layout(network, batch)
            if entry is not None:
                parts.add(batch, entry, SHARD_BYTES)
            if progress is not None:
                progress(count)
        if not intake.networks:
            raise CatalogError(f"{source_name} holds no networks ({format_name}).")
        manifests = intake.finish(parts)
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


def _read(networks: Iterator[Network], source: Path) -> Iterator[Network]:
    try:
        yield from networks
    except OSError as error:
        if isinstance(error, CatalogError):
            raise
        raise CatalogError(f"{source} cannot be read: {error}") from error


def _zoo_name(source: Path) -> str:
    path = source.resolve()
    return path.name if path.is_dir() else path.name.split(".")[0] or path.name
