"""Commit records: numbered and renamed into place under the lock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog.errors import CatalogError, ShardCorrupt
from catalog.names import canonical_json
from catalog.storage.folder import Folder
from catalog.storage.manifest import File, Manifest, Original, read_manifest
from catalog.storage.shard import footer_digest
from catalog.storage.snapshot import read_head
from catalog.version import __version__


@dataclass(frozen=True)
class Pending:
    """Fields of a manifest to be written, without its time and mostly its sequence."""

    shard: str
    content: str
    files: dict[str, File]
    arch_id: str = ""
    layout_id: str = ""
    measure_columns: tuple[str, ...] = ()
    members: tuple[Manifest, ...] = ()
    sequence: int | None = None
    partial: Original | None = None


class Publisher:
    """Publisher of the commit records of one writer.

    Parameters
    ----------
    folder : Folder
        Folder of the catalogue.

    Attributes
    ----------
    committed : bool
        Whether anything has been committed.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._sequences: dict[str, int] = {}
        self.committed = False

    def publish(self, pending: Sequence[Pending], group: str = "") -> list[Manifest]:
        """Commit shards whose files are written.

        Parameters
        ----------
        pending : sequence of Pending
            Shards to commit.
        group : str, default=""
            Name of the commit, if it has several shards.

        Raises
        ------
        CatalogError
            If readers would refuse a record.
        """
        footers = [self._footer(part) for part in pending]
        manifests: list[Manifest] = []
        with self._folder.lock():
            for part, (footer_sha256, footer_bytes) in zip(pending, footers, strict=True):
                manifest = Manifest(
                    created=datetime.now(UTC).isoformat(timespec="seconds"),
                    writer=f"phasezoo {__version__}",
                    footer_sha256=footer_sha256,
                    footer_bytes=footer_bytes,
                    group=group,
                    **vars(part) | {"sequence": part.sequence or self._next_sequence()},
                )
                self._sequences[manifest.shard] = manifest.sequence
                manifests.append(manifest)
            records = {self._folder.manifest(m.shard): _record(m) for m in manifests}
            if group:
                records[self._folder.group(group)] = b""  # last: commits the whole group
            self._folder.write_all(records)
            self.committed = True
        return manifests

    def _footer(self, part: Pending) -> tuple[str, int]:
        if "weights" not in part.files:
            return "", 0
        return footer_digest(self._folder.root / part.files["weights"].path)

    def _next_sequence(self) -> int:
        head = read_head(self._folder)
        self._sequences |= {m.shard: m.sequence for m in head.manifests}
        for shard in self._folder.manifest_names() - self._sequences.keys():
            try:
                self._sequences[shard] = read_manifest(self._folder, shard).sequence
            except ShardCorrupt:
                if shard not in head.dropped:
                    raise
        return 1 + max(self._sequences.values(), default=0)


def _record(manifest: Manifest) -> bytes:
    """Serialise a commit record, and check that readers will accept it.

    Raises
    ------
    CatalogError
        If readers would refuse the record or read another one; nothing is written then.
    """
    text = canonical_json(manifest.to_json())
    try:
        parsed = Manifest.from_json(json.loads(text), f"The record of {manifest.shard}")
    except ShardCorrupt as error:
        raise CatalogError(f"Nothing was committed. {error}") from error
    if parsed.to_json() != manifest.to_json():
        raise CatalogError(
            f"Nothing was committed: the record of shard {manifest.shard} does not read "
            "back as it was written. This is a fault of phasezoo; please report it."
        )
    return text.encode()
