"""Shards that are parts of shards elsewhere: what a catalogue says about them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from catalog.console.pasting import word
from catalog.errors import ShardCorrupt
from catalog.quoting import literal
from catalog.storage.folder import SHARD_NAME, Folder
from catalog.storage.manifest import parse_json
from catalog.storage.snapshot import Snapshot

ROOT_KEY = b"phasezoo.catalog"
"""Key in the metadata of a table of checkpoints: folder of a catalogue with parts."""


def partial_sentence(snapshot: Snapshot) -> str:
    """Return a sentence for readers of a catalogue that holds parts; empty if it does not.

    Parameters
    ----------
    snapshot : Snapshot
    """
    parts = [m for m in snapshot.manifests if m.partial]
    if not parts:
        return ""
    shards = sum(m.content in ("weights", "metrics") for m in snapshot.manifests)
    return (
        f"This catalogue is partial: {len(parts):,} of its {shards:,} shards hold only "
        "some rows or tensors of the shards that their manifests name under `partial`. "
        "Networks may lack tensors, and runs may lack checkpoints."
    )


def command_for_rest(table: pa.Table, i: int) -> str:
    """Return the command that fetches what a checkpoint lacks.

    Parameters
    ----------
    table : pyarrow.Table
        Table of a selection or population.
    i : int
        Row of the checkpoint.
    """
    run_id, step = table["run_id"][i].as_py(), table["step"][i].as_py()
    condition = f"run_id = {literal(run_id)} AND step = {literal(step)}"
    root = (table.schema.metadata or {}).get(ROOT_KEY)
    if root is None:
        return f"phasezoo fetch SOURCE --where {word(condition)}"
    path = Path(root.decode())
    address = _addresses(Folder(path)).get(table["shard"][i].as_py(), "SOURCE")
    return (
        f"phasezoo fetch {word(address)} --where {word(condition)} --catalog {word(path)}"
    )


def _addresses(folder: Folder) -> dict[str, str]:
    """Return the addresses that parts came from, by shard."""
    addresses: dict[str, str] = {}
    for path in sorted((folder.root / "origins").glob("*.json")):
        value = parse_json(folder, path)
        address = value.get("address") if isinstance(value, dict) else None
        if isinstance(address, str):
            addresses |= dict.fromkeys(listed_shards(folder, path, "parts"), address)
    return addresses


def listed_shards(folder: Folder, path: Path, key: str) -> set[str]:
    """Return the shards that a file in ``origins/`` lists under a key.

    Raises
    ------
    ShardCorrupt
        If the file is no list of shards.
    """
    if not path.exists():
        return set()
    value = parse_json(folder, path)
    absent: list[str] | None = [] if key == "parts" else None
    shards = value.get(key, absent) if isinstance(value, dict) else None
    if not isinstance(shards, list) or not all(
        isinstance(shard, str) and SHARD_NAME.fullmatch(shard) for shard in shards
    ):
        raise ShardCorrupt(
            f"{path} is no list of shards. Delete it: then removals do not travel."
        )
    return set(shards)
