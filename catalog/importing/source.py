"""Import of a source that a user names: a file, a folder, or models of the Hub."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from catalog.console.local_only import check_local
from catalog.errors import CatalogError
from catalog.formats import find_format
from catalog.formats.chosen_tensors import check_patterns, with_chosen_tensors
from catalog.formats.format import Network
from catalog.formats.source import unread_tables
from catalog.hub.address import is_model_source
from catalog.importing.axes import AxesRule
from catalog.importing.cells import CellColumns
from catalog.importing.grouping import grouped
from catalog.importing.networks import ImportSummary, check_names, import_networks
from catalog.storage.inside_folder import check_source


def import_source(
    root: str | Path,
    source: str | Path | Sequence[str | Path],
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
    tensors: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import the networks of a file or folder, or models of the Hugging Face Hub.

    Importing them again changes nothing.

    Parameters
    ----------
    root : str or Path
        Folder of the catalogue, which is created if it does not exist.
    source : str, Path or sequence of these
        File or folder of the published networks; or models of the Hub, of which several may
        be given: addresses ``hf://USER/MODEL[@REVISION][/FILE]``, and files ``.txt`` with
        one address a line.
    format : str, default="auto"
        Name of a format, or "auto" for the format that recognises the source.
    zoo : str, optional
        Name of the zoo, which is part of every ``run_id``. Default: name of the file or
        folder; "hub" for models of the Hub.
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
    tensors : sequence of str
        Patterns such as ``*.weight``: only tensors whose whole name matches one of them are
        imported, and of models of the Hub only their bytes are downloaded. Default: all.
    progress : callable, optional
        Function that is called with the number of networks read so far.

    Returns
    -------
    ImportSummary
        Numbers of imported networks, with the committed shards.

    Raises
    ------
    CatalogError
        If a network, row or file is invalid. The catalogue is then unchanged. A model of
        the Hub that is invalid is left out, and named in ``failed`` of the summary.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    check_local(root)
    check_patterns(tensors)
    if any(is_model_source(name) for name in sources):
        _check_models(sources, format, metadata)
        from catalog.importing.models import import_models  # loads an HTTP library

        return import_models(
            root,
            sources,
            tensors=tensors,
            zoo=zoo or "hub",
            license=license,
            run=run,
            rename=rename,
            percent=percent,
            cells=CellColumns.of(load, temperature),
            one_layout=one_layout,
            allow_nonfinite=allow_nonfinite,
            axes=axes,
            progress=progress,
        )
    if len(sources) != 1:
        raise CatalogError(
            f"{len(sources)} sources were given. Several are allowed only for models of "
            "the Hub (hf://USER/MODEL); import files and folders one by one."
        )
    path = Path(sources[0])
    check_source(path)
    reader = find_format(format, path)
    table = None if metadata is None else Path(metadata)
    if table is not None and not table.is_file():
        raise CatalogError(f"There is no table {table}; --metadata must name a CSV file.")
    zoo_name = zoo or _zoo_name(path)
    check_names(zoo_name, license)
    networks = _read(reader.read(path, table), path)
    if tensors:
        networks = with_chosen_tensors(networks, tensors)
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


def _check_models(
    sources: Sequence[str | Path], format: str, metadata: str | Path | None
) -> None:
    """Refuse options and sources that do not go together with models of the Hub."""
    others = [str(source) for source in sources if not is_model_source(source)]
    if others:
        raise CatalogError(
            f"{others[0]!r} is no model of the Hub (hf://USER/MODEL) and no existing file "
            ".txt that lists models. Import files and folders by themselves."
        )
    if format != "auto" or metadata is not None:
        raise CatalogError(
            "Models of the Hub are read as safetensors, and their columns come from their "
            "cards. Leave out --format and --metadata; add columns later: phasezoo annotate"
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
