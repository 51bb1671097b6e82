"""Records of which shards came from an address, or went there.

A removal travels by them: a shard that was published from here, and is here no more, is
given up there; a shard that was fetched from there, and is there no more, is given up here.
No other shard of the other side is ever given up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from catalog.remote.address import Address
from catalog.storage.folder import Folder
from catalog.storage.partial import listed_shards


def known_shards(folder: Folder, address: Address) -> set[str]:
    """Return the shards that were fetched from an address or published to it."""
    return listed_shards(folder, folder.root / "origins" / f"{address.id}.json", "shards")


def known_parts(folder: Folder, address: Address) -> set[str]:
    """Return the shards that hold parts of shards at an address; only we have them."""
    return listed_shards(folder, folder.root / "origins" / f"{address.id}.json", "parts")


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
    kept = known_parts(folder, address) if parts is None else parts
    if kept:
        value["parts"] = sorted(kept)
    data = (json.dumps(value, indent=1) + "\n").encode()
    if not path.exists() or path.read_bytes() != data:
        folder.write(path, data)
