"""Records of which shards came from an address, or went there.

A removal travels by them: a shard that was published from here, and is here no more, is
given up there; a shard that was fetched from there, and is there no more, is given up here.
No other shard of the other side is ever given up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from catalog.errors import ShardCorrupt
from catalog.remote.address import Address
from catalog.storage.folder import SHARD_NAME, Folder
from catalog.storage.manifest import parse_json


def known_shards(folder: Folder, address: Address) -> set[str]:
    """Return the shards that were fetched from an address or published to it."""
    path = folder.root / "origins" / f"{address.id}.json"
    if not path.exists():
        return set()
    value = parse_json(folder, path)
    shards = value.get("shards") if isinstance(value, dict) else None
    if not isinstance(shards, list) or not all(
        isinstance(shard, str) and SHARD_NAME.fullmatch(shard) for shard in shards
    ):
        raise ShardCorrupt(
            f"{path} is no list of shards. Delete it: then removals do not travel."
        )
    return set(shards)


def record_shards(folder: Folder, address: Address, shards: Iterable[str]) -> None:
    """Write the shards that a catalogue shares with an address."""
    path = folder.root / "origins" / f"{address.id}.json"
    value = {"address": str(address), "shards": sorted(shards)}
    data = (json.dumps(value, indent=1) + "\n").encode()
    if not path.exists() or path.read_bytes() != data:
        folder.write(path, data)
