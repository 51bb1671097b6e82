"""Records of which shards came from an address, or went there.

A removal travels by them: a shard that was published from here, and is here no more, is
given up there; a shard that was fetched from there, and is there no more, is given up here.
No other shard of the other side is ever given up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from catalog.errors import ShardCorrupt
from catalog.remote.address import Address
from catalog.storage.folder import SHARD_NAME, Folder
from catalog.storage.manifest import parse_json


def known_shards(folder: Folder, address: Address) -> set[str]:
    """Return the shards that were fetched from an address or published to it."""
    return _listed(folder, folder.root / "origins" / f"{address.id}.json", "shards")


def known_parts(folder: Folder, address: Address) -> set[str]:
    """Return the shards that hold parts of shards at an address; only we have them."""
    return _listed(folder, folder.root / "origins" / f"{address.id}.json", "parts")


def addresses_of_parts(folder: Folder) -> dict[str, str]:
    """Return the addresses that parts came from, by shard."""
    addresses: dict[str, str] = {}
    for path in sorted((folder.root / "origins").glob("*.json")):
        value = parse_json(folder, path)
        address = value.get("address") if isinstance(value, dict) else None
        if isinstance(address, str):
            addresses |= dict.fromkeys(_listed(folder, path, "parts"), address)
    return addresses


def _listed(folder: Folder, path: Path, key: str) -> set[str]:
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


def record_shards(
    folder: Folder,
    address: Address,
    shards: Iterable[str],
    parts: Iterable[str] | None = None,
) -> None:
    """Write the shards that a catalogue shares with an address.

    Parameters
    ----------
    shards : iterable of str
        Shards that both sides have.
    parts : iterable of str, optional
        Shards here that hold parts of shards there. Default: as they are recorded.
    """
    path = folder.root / "origins" / f"{address.id}.json"
    value: dict[str, object] = {"address": str(address), "shards": sorted(shards)}
    listed = known_parts(folder, address) if parts is None else parts
    if listed:
        value["parts"] = sorted(listed)
    data = (json.dumps(value, indent=1) + "\n").encode()
    if not path.exists() or path.read_bytes() != data:
        folder.write(path, data)
