"""Writing of what a fetch of a part brings: reduced shards, and shards as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from catalog.catalog import Catalog
from catalog.errors import ShardCorrupt
from catalog.remote.gathered import Gathered
from catalog.remote.pieces import Piece
from catalog.storage.folder import Folder
from catalog.storage.inside_folder import check_inside
from catalog.storage.json_column import json_object
from catalog.storage.manifest import Manifest, Original
from catalog.storage.staging import Staged
from catalog.upkeep.rewriting import without_foreign_columns
from catalog.writer import Part, Writer


@dataclass(frozen=True)
class Rows:
    """Metadata of the checkpoints of a piece, as the source's views show it.

    Attributes
    ----------
    runs, checkpoints : pyarrow.Table
    """

    runs: pa.Table
    checkpoints: pa.Table


def read_rows(source: Catalog, keys: pa.Table) -> Rows:
    """Read the metadata of checkpoints, in the order of their keys.

    Parameters
    ----------
    source : Catalog
    keys : pyarrow.Table
        ``run_id`` and ``step``, among other columns.
    """
    numbered = keys.select(["run_id", "step"]).append_column(
        "pz_at", pa.array(range(len(keys)), pa.int64())
    )
    checkpoints = source.about(
        numbered,
        "SELECT c.* FROM checkpoints c JOIN asked USING (run_id, step) ORDER BY pz_at",
    )
    runs = source.about(
        numbered,
        "SELECT r.* FROM runs r SEMI JOIN asked USING (run_id) ORDER BY r.run_id",
    )
    if len(checkpoints) != len(keys):
        raise ShardCorrupt(
            f"{source} has {len(checkpoints)} rows of {len(keys)} checkpoints. Nothing was "
            "fetched; ask whoever published it to run 'phasezoo verify'."
        )
    return Rows(
        without_foreign_columns(runs, "runs"),
        without_foreign_columns(checkpoints, "checkpoints"),
    )


def original_of(manifest: Manifest) -> Original:
    """Return the record of the shard that another one is a part of."""
    if manifest.partial:
        return manifest.partial
    kind = "weights" if "weights" in manifest.files else "checkpoints"
    return Original(manifest.shard, manifest.files[kind].sha256)


def reduced_part(
    writer: Writer, piece: Piece, weights: Gathered | None, rows: Rows
) -> Part:
    """Write the weights of a piece; return the shard to publish.

    Parameters
    ----------
    writer : Writer
    piece : Piece
    weights : Gathered, optional
        Downloaded weights; None for checkpoints without any.
    rows : Rows
        Metadata of the piece.

    Raises
    ------
    ShardCorrupt
        If the source states no valid architecture.
    """
    original = original_of(piece.manifest)
    if weights is None:
        return Part(rows.runs, rows.checkpoints, partial=original)
    staged = writer.stage(weights, _architecture(rows.runs))
    return Part(rows.runs, rows.checkpoints, staged, partial=original)


def _architecture(runs: pa.Table) -> str:
    """Return the JSON of the architecture that all runs have, or an empty text."""
    texts = set(runs["architecture"].to_pylist())
    text = texts.pop() if len(texts) == 1 else None
    if not text:
        return ""
    json_object(text, "The architecture of the runs")
    return str(text)


def whole_part(
    writer: Writer,
    folder: Folder,
    source: Catalog,
    piece: Piece,
    rows: Rows,
    arrived: Mapping[str, Path],
) -> Part:
    """Give a shard that was downloaded as it is its name; return the shard to publish.

    Parameters
    ----------
    writer : Writer
    folder : Folder
        Local catalogue.
    source : Catalog
    piece : Piece
    rows : Rows
        Metadata of the piece.
    arrived : mapping of str to Path
        Downloaded files, by their path in a catalogue.
    """
    manifest = piece.manifest
    same = (manifest.sequence, manifest.partial)
    if piece.layout is None:
        return Part(rows.runs, rows.checkpoints, None, *same, shard=manifest.shard)
    file = manifest.files["weights"]
    target = folder.root / file.path
    check_inside(folder.root, target)
    folder.make(target.parent)
    if target.exists():  # another fetch was quicker
        arrived[file.path].unlink(missing_ok=True)
    else:
        folder.publish(arrived[file.path], target)
    files = {"weights": file}
    asked = pa.table({"shard": [manifest.shard], "arch_id": [manifest.arch_id]})
    for kind, key, order in (
        ("tensors", "arch_id", "position"),
        ("tensor_stats", "shard", 'tensor, "row"'),
        ("chunks", "shard", "tensor, first_row"),
    ):
        table = source.about(
            asked,
            f"SELECT t.* FROM {kind} t SEMI JOIN asked USING ({key}) ORDER BY {order}",
        )
        files[kind] = writer.files.table(kind, manifest.shard, table)
    keys = piece.keys.select(["run_id", "step"])
    staged = Staged(manifest.shard, piece.layout, manifest.arch_id, keys, files)
    return Part(rows.runs, rows.checkpoints, staged, *same)
