"""Digests of files that predate the container; only files of generators had a digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from blake3 import blake3

from catalog.formats.safetensors_file import DTYPE_OF

_BLOCK = 1 << 20


def earlier_digests(path: Path, metadata: Mapping[str, str]) -> tuple[str, str]:
    """Return the digest stored in a generator's file, and the digest of its content.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    digest = blake3(metadata.get("generator", "").encode())
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(start - 8))
        header.pop("__metadata__")
        for name, entry in header.items():
            dtype = DTYPE_OF.get(entry["dtype"], entry["dtype"])
            digest.update(f"{name} {dtype} {tuple(entry['shape'])}".encode())
            begin, end = entry["data_offsets"]
            file.seek(start + begin)
            for offset in range(begin, end, _BLOCK):
                digest.update(file.read(min(_BLOCK, end - offset)))
    return metadata.get("digest", ""), digest.hexdigest()
