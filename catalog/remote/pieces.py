"""Plan of a fetch of a part: rows and tensors of each shard, and what is here of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.catalog import Catalog, arrow_table
from catalog.checkpoints import steps_sql
from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.errors import CatalogError, NotFound, closest
from catalog.index.tables import connect
from catalog.layout import Layout
from catalog.quoting import literal
from catalog.storage.manifest import Manifest
from catalog.storage.metadata import metadata_source


class Asked(NamedTuple):
    """Part of a catalogue that somebody asks for.

    Attributes
    ----------
    where : str
        SQL condition on `models`.
    tensors : tuple of str
        Patterns of the names of tensors, such as ``"*.bias"``; empty for all tensors.
    steps : {"all", "last"}
        All selected checkpoints of each run, or the last selected one.
    """

    where: str = "true"
    tensors: tuple[str, ...] = ()
    steps: str = "all"


def asked_for(
    where: str | None, tensors: Sequence[str] = (), steps: str | None = None
) -> Asked:
    """Return the part that options of `fetch` name.

    Raises
    ------
    CatalogError
        If ``tensors`` is one text instead of a sequence, or a pattern is empty.
    """
    if isinstance(tensors, str) or not all(tensors):
        raise CatalogError(
            f"tensors must be a list of patterns that are not empty. Got {tensors!r}."
        )
    steps_sql(steps or "all")
    return Asked("true" if where is None else where, tuple(tensors), steps or "all")


@dataclass(frozen=True)
class Piece:
    """Checkpoints of one shard of the source that will have the same tensors here.

    Attributes
    ----------
    manifest : Manifest
        The shard of the source.
    keys : pyarrow.Table
        ``run_id``, ``step`` and ``row`` there; ``shard_here`` and ``row_here`` are null
        where nothing is here. In order of ``row``.
    layout : Layout, optional
        Tensors that the checkpoints will have; None for checkpoints without weights.
    missing : dict of str to tuple of str
        Names of the tensors to download, by ``shard_here``, which is "" for none.
    whole : bool
        Whether the shard is fetched as it is, under its name.
    """

    manifest: Manifest
    keys: pa.Table
    layout: Layout | None
    missing: Mapping[str, tuple[str, ...]]
    whole: bool = False

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def rows(self) -> Array:
        """Rows of the source's shard."""
        rows: Array = self.keys["row"].to_numpy()
        return rows

    def here(self) -> Iterator[tuple[str, Array]]:
        """Yield each shard here, "" for none, with the positions of its checkpoints."""
        shards = pc.fill_null(self.keys["shard_here"], "").combine_chunks()
        encoded = shards.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        for code, shard in enumerate(encoded.dictionary.to_pylist()):
            yield shard, np.flatnonzero(codes == code)


@dataclass(frozen=True)
class Pieces:
    """Everything that a fetch of a part brings.

    Attributes
    ----------
    keys : pyarrow.Table
        ``run_id`` and ``step`` of the checkpoints that were asked for.
    pieces : tuple of Piece
        What is missing here.
    held : int
        Checkpoints that are here with all tensors that were asked for.
    without : int
        Selected checkpoints that have none of the tensors; they are not fetched.
    removed : int
        Selected checkpoints of shards that came from the source and were removed here.
    """

    keys: pa.Table
    pieces: tuple[Piece, ...]
    held: int
    without: int
    removed: int


def find_pieces(
    source: Catalog,
    here: Catalog | None,
    asked: Asked,
    address: str,
    *,
    shared: Collection[str] = (),
    again: bool = False,
) -> Pieces:
    """Find what a catalogue lacks of the part of another one that is asked for.

    Parameters
    ----------
    source : Catalog
    here : Catalog, optional
        None if there is no catalogue yet.
    asked : Asked
    address : str
        Address of the source, for errors.
    shared : collection of str
        Shards that came from the source earlier, as they are.
    again : bool, default=False
        Whether to fetch what such shards hold and was removed here.

    Raises
    ------
    CatalogError
        If the condition is not valid SQL, a pattern matches no tensor, or a checkpoint is
        here with other tensors, from elsewhere.
    NotFound
        If no checkpoint matches.
    """
    last = steps_sql(asked.steps)
    selected = arrow_table(
        source.sql(
            'SELECT run_id, step, shard, "row" FROM '
            f"({source.matching(asked.where)}) models {last} "
            'ORDER BY shard, "row", run_id, step'
        )
    )
    if not len(selected):
        raise NotFound(
            f"No checkpoint of {address} matches {asked.where!r}. The zoos there: phasezoo "
            'sql "SELECT zoo, count(*) FROM models GROUP BY zoo" --catalog '
            f"{word(address)}"
        )
    names = _tensor_names(source, selected, asked.tensors)
    kept = _with_places(selected, here)
    if not again:
        kept = kept.filter(_not_removed(kept, here, shared))
    away = len(selected) - len(kept)
    finder = _Finder(source, here, names)
    pieces: list[Piece] = []
    for shard, table in _by_shard(kept):
        pieces += finder.of_shard(source.snapshot.shards[shard], table)
    return Pieces(finder.keys(), tuple(pieces), finder.held, finder.without, away)


def _not_removed(
    table: pa.Table, here: Catalog | None, shared: Collection[str]
) -> pa.ChunkedArray:
    """Report which checkpoints are here, or are of shards that never were."""
    known = set(shared) | (here.snapshot.shards.keys() if here else set())
    there = pc.is_in(table["shard"], pa.array(sorted(known), pa.string()))
    return pc.or_(pc.is_valid(table["shard_here"]), pc.invert(there))


def _by_shard(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of each shard of a table that is sorted by shard."""
    encoded = table["shard"].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    names = encoded.dictionary.to_pylist()
    bounds = np.searchsorted(codes, np.arange(len(names) + 1))
    for i, name in enumerate(names):
        yield str(name), table.slice(bounds[i], bounds[i + 1] - bounds[i])


def _tensor_names(
    source: Catalog, table: pa.Table, patterns: Sequence[str]
) -> dict[str, frozenset[str]]:
    """Return the names of the tensors that are asked for, by architecture."""
    shards = pc.unique(table["shard"]).to_pylist()
    manifests = [source.snapshot.shards[shard] for shard in shards]
    layouts = {
        m.arch_id: source.layout(m.arch_id) for m in manifests if "weights" in m.files
    }
    known = {param.name for layout in layouts.values() for param in layout}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise NotFound(
                f"--tensors {word(pattern)} matches no tensor of the selected "
                f"checkpoints. {closest(pattern, known)}"
            )
    return {
        arch_id: frozenset(
            p.name
            for p in layout
            if not patterns or any(fnmatchcase(p.name, pattern) for pattern in patterns)
        )
        for arch_id, layout in layouts.items()
    }


def _with_places(table: pa.Table, here: Catalog | None) -> pa.Table:
    """Add where the checkpoints are here, if they are."""
    if here is None:
        return table.append_column(
            "shard_here", pa.nulls(len(table), pa.string())
        ).append_column("row_here", pa.nulls(len(table), pa.int64()))
    return here.about(
        table,
        'SELECT asked.*, c.shard AS shard_here, c."row" AS row_here '
        "FROM asked LEFT JOIN checkpoints c USING (run_id, step) "
        'ORDER BY asked.shard, asked."row", run_id, step',
    )


class _Finder:
    """Compares shards of the source with what is here, and counts."""

    def __init__(
        self, source: Catalog, here: Catalog | None, names: Mapping[str, frozenset[str]]
    ) -> None:
        self._source, self._here, self._names = source, here, names
        self._wanted: list[pa.Table] = []
        self.held = self.without = 0

    def keys(self) -> pa.Table:
        """Return the keys of all checkpoints that were asked for and have what was."""
        empty = pa.table(
            {"run_id": pa.array([], pa.string()), "step": pa.array([], pa.int64())}
        )
        return pa.concat_tables([empty, *self._wanted])

    def of_shard(self, manifest: Manifest, table: pa.Table) -> list[Piece]:
        """Return the pieces of one shard."""
        weights = "weights" in manifest.files
        if weights and not self._names[manifest.arch_id]:
            self.without += len(table)
            return []
        self._wanted.append(table.select(["run_id", "step"]))
        whole = len(table) == manifest.files["checkpoints"].rows and self._is_new(
            manifest, table
        )
        if not weights:
            table = table.filter(pc.is_null(table["shard_here"]))
            self.held += len(self._wanted[-1]) - len(table)
            return [Piece(manifest, table, None, {}, whole)] if len(table) else []
        found: dict[tuple[str, ...], list[tuple[str, Array]]] = {}
        layouts: dict[tuple[str, ...], Layout] = {}
        for shard, positions in Piece(manifest, table, None, {}).here():
            layout = self._joined(manifest, shard, table.take(positions[:1]))
            if layout is None:
                self.held += len(positions)
                continue
            key = tuple(param.name for param in layout)
            layouts[key] = layout
            found.setdefault(key, []).append((shard, positions))
        if whole and len(asked := layouts[next(iter(found))]) == len(
            self._source.layout(manifest.arch_id)
        ):
            return [Piece(manifest, table, asked, {}, True)]
        return [
            self._piece(manifest, table, layouts[key], parts)
            for key, parts in found.items()
        ]

    def _is_new(self, manifest: Manifest, table: pa.Table) -> bool:
        """Report if nothing of a shard is or was here, so that it can have its name."""
        if self._here is None:
            return True
        snapshot = self._here.snapshot
        if (
            manifest.shard in snapshot.shards
            or manifest.shard in snapshot.dropped
            or table["shard_here"].null_count < len(table)
        ):
            return False
        tombstones = [m for m in snapshot.manifests if m.content == "tombstones"]
        removed = metadata_source(self._here.root, tombstones, "tombstones")
        if not removed:
            return True
        with connect() as connection:
            connection.register("wanted", table)
            hidden = (
                f"SELECT 1 FROM wanted SEMI JOIN {removed} USING (run_id, step) LIMIT 1"
            )
            return not connection.execute(hidden).fetchall()

    def _joined(self, manifest: Manifest, shard: str, first: pa.Table) -> Layout | None:
        """Return the tensors of checkpoints that are in a shard here, with the new ones.

        None if they have all already.
        """
        there = self._source.layout(manifest.arch_id)
        asked = self._names[manifest.arch_id]
        if not shard or self._here is None:
            return Layout(tuple(p for p in there if p.name in asked))
        mine = self._here.snapshot.shards[shard]
        held = self._here.layout(mine.arch_id) if "weights" in mine.files else Layout(())
        for param in held:
            if param.name in there and there[param.name] != param:
                raise _conflict(first, f"tensor {param.name!r} differs", self._here)
        new = [name for name in asked if name not in held]
        if not new:
            return None
        if not mine.partial:
            what = f"it lacks {new[0]!r}" if len(held) else "it has no weights"
            raise _conflict(first, what, self._here)
        return Layout(
            (
                *(p for p in there if p.name in asked or p.name in held),
                *(p for p in held if p.name not in there),
            )
        )

    def _piece(
        self,
        manifest: Manifest,
        table: pa.Table,
        layout: Layout,
        parts: Sequence[tuple[str, Array]],
    ) -> Piece:
        missing: dict[str, tuple[str, ...]] = {}
        for shard, _ in parts:
            held: Collection[object] = ()
            if shard and self._here is not None:
                mine = self._here.snapshot.shards[shard]
                if "weights" in mine.files:
                    held = {p.name for p in self._here.layout(mine.arch_id)}
            missing[shard] = tuple(p.name for p in layout if p.name not in held)
        rows = np.sort(np.concatenate([positions for _, positions in parts]))
        return Piece(manifest, table.take(pa.array(rows)), layout, missing)


def _conflict(key: pa.Table, what: str, here: Catalog) -> CatalogError:
    run_id, step = key["run_id"][0].as_py(), key["step"][0].as_py()
    condition = f"run_id = {literal(run_id)} AND step = {step}"
    return CatalogError(
        f"The checkpoint {run_id}@{step} is in {here.root} from elsewhere, and {what}. "
        f"Nothing was fetched. Remove it first: phasezoo rm {word(condition)} --catalog "
        f"{word(here.root)}"
    )
