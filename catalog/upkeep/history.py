"""History of a catalogue: the versions that can still be read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog.storage.folder import Folder
from catalog.storage.snapshot import read_head, read_snapshot


def history(root: Path) -> list[dict[str, Any]]:
    """Return one row per version, newest first, with its date and numbers of shards.

    Raises
    ------
    ShardCorrupt
        If a version is damaged.
    """
    folder = Folder(root)
    head = read_head(folder)
    rows = []
    for version in sorted(folder.versions(), reverse=True):
        if version > head.version:
            continue
        snapshot = read_snapshot(folder, version)
        seconds = folder.snapshot(version).stat().st_mtime
        contents = [m.content for m in snapshot.manifests]
        rows.append(
            {
                "version": version,
                "created": datetime.fromtimestamp(seconds, UTC).isoformat(
                    sep=" ", timespec="seconds"
                ),
                "shards": contents.count("weights") + contents.count("metrics"),
                "measures": contents.count("measures"),
                "tombstones": contents.count("tombstones"),
                "packs": contents.count("pack"),
                "weight_MB": round(
                    sum(
                        m.files["weights"].bytes
                        for m in snapshot.manifests
                        if "weights" in m.own
                    )
                    / 1e6,
                    1,
                ),
            }
        )
    return rows
