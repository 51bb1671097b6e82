"""Import of foreign networks: grouping, typing, checking, and committing all or none.

Networks are streamed: only the weights of one shard and the metadata are in memory. Weights
are staged on disk as the networks are read. Manifests are written only after the last
network was checked; on an error, the staged files are deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from catalog.console.local_only import check_local
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
    """Import the networks of a file or folder; importing them again changes nothing.

    Parameters
    ----------
    root : str or Path
        Folder of the catalogue, which is created if it does not exist.
    source : str or Path
        File or folder of the published networks.
    format : str, default="auto"
        Name of a format, or "auto" for the format that recognises the source.
    zoo : str, optional
        Name of the zoo, which is part of every ``run_id``. Default: name of the file or
        folder.
    license : str, optional
        Licence as an SPDX expression, such as "CC-BY-4.0".
    metadata : str or Path, optional
        CSV file with one row per network. Default: a CSV file beside the source.
    run : str, optional
        Regular expression with the groups ``run`` and ``step`` that the whole name of
        every network matches, such as ``(?P<run>.*)/e(?P<step>[0-9]+)[.]pt``.
    rename : mapping of str to str, optional
        New names of columns by published names.
    percent : collection of str, optional
        New names of the columns that are divided by 100.
    load, temperature : str, optional
        New names of the columns whose values define the cells of the zoo's grid. Default:
        the columns that the format knows, if any.
    one_layout : bool, default=False
        Refuse a source whose networks differ in the names, shapes, dtypes or order of
        tensors.
    allow_nonfinite : bool, default=False
        Import networks with NaN or infinite weights, flagged ``finite = false``.
    axes : {"certain", "chain", "none"}, default="certain"
        Rule for axis symbols if the format does not know them. "certain" gives symbols if
        names and shapes prove a plain chain. "chain" asserts that the layers are a chain in
        the order of their names; weights cannot contradict this, and if it is wrong,
        permuting along the symbols changes the function of a network. "none" gives no
        symbols.
    progress : callable, optional
        Function that is called with the number of networks read so far.

    Returns
    -------
    ImportSummary
        Numbers of imported networks, with the committed shards.

    Raises
    ------
    CatalogError
        If a network, row or file is invalid. The catalogue is then unchanged.
    """
    check_local(root)
    path = Path(source)
    check_source(path)
    reader = find_format(format, path)
    table = None if metadata is None else Path(metadata)
    if table is not None and not table.is_file():
        raise CatalogError(f"There is no table {table}; --metadata must name a CSV file.")
    if license is not None and not _SPDX.fullmatch(license):
        raise CatalogError(
            f"The licence must be an SPDX expression such as MIT or CC-BY-4.0. Got "
            f"{license!r}."
        )
    zoo_name = zoo or _zoo_name(path)
    if not zoo_name.strip() or not zoo_name.isprintable():
        raise CatalogError(f"{zoo_name!r} cannot name a zoo; give another name: --zoo NAME")
    networks = _read(reader.read(path, table), path)
    summary = import_networks(
        root,
        networks if run is None else grouped(networks, run),
        zoo=zoo_name,
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
    return replace(
        summary, unread=[str(csv_path) for csv_path in unread_tables(path, table)]
    )


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
    """Import networks from memory or from an iterator; see `import_source`."""
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
