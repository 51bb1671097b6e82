"""Digests of files of before the container: only generators had one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from blake3 import blake3

from catalog.formats.safetensors_file import DTYPE_OF

_BLOCK = 1 << 20


def earlier_digests(path: Path, metadata: Mapping[str, str]) -> tuple[str, str]:
    """Give the digest in a generator's file, and that of its text and tensors.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    found = blake3(metadata.get("generator", "").encode())
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(start - 8))
        header.pop("__metadata__")
        for name, entry in header.items():
            kind = DTYPE_OF.get(entry["dtype"], entry["dtype"])
            found.update(f"{name} {kind} {tuple(entry['shape'])}".encode())
            begin, end = entry["data_offsets"]
            file.seek(start + begin)
            for at in range(begin, end, _BLOCK):
                found.update(file.read(min(_BLOCK, end - at)))
    return metadata.get("digest", ""), found.hexdigest()
