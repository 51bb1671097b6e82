"""Publishing: a catalogue elsewhere comes to hold what this one has, and keeps the rest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from catalog.catalog import Catalog
from catalog.console.pasting import word
from catalog.errors import CatalogError, ShardCorrupt
from catalog.names import canonical_json
from catalog.remote.address import Address, parse_address
from catalog.remote.agreement import ComparedShards, check_agreement
from catalog.remote.cache_folder import MirrorInUse, mirror_root
from catalog.remote.mirror import metadata_files, mirror_metadata
from catalog.remote.origins import known_shards, record_shards
from catalog.remote.partial import check_complete
from catalog.remote.published_card import PublishedCard, published_card
from catalog.remote.remote_snapshot import RemoteSnapshot, read_remote
from catalog.remote.store import HeadMoved, Outgoing, WritableStore
from catalog.remote.stores import writable_store
from catalog.storage.folder import Folder
from catalog.storage.manifest import File, Manifest
from catalog.storage.metadata import check_size
from catalog.storage.partial import partial_sentence
from catalog.storage.snapshot import Snapshot
from catalog.upkeep.compaction import write_pack
from catalog.upkeep.rewriting import wasteful

ATTEMPTS = 8
"""Times that a publish is joined anew with what others published meanwhile."""

MOST_PACKS = 16
"""Packs at the destination above which the next publish joins them."""

MOST_FILES = 10_000
"""Files in one folder of a Hub repository."""


@dataclass(frozen=True)
class Published:
    """Plan of a publish, or its result.

    Attributes
    ----------
    destination : str
        Address.
    version : int
        Version of the destination that holds it.
    shards : int
        Shards of networks that are new there.
    withdrawn : int
        Shards published from here earlier that were removed here and now go there.
    files, bytes : int
        What is uploaded, the table and the pictures of the card included; files that an
        interrupted publish uploaded already do not count, nor do the commit records,
        README.md and croissant.json, which are written in the end.
    changed : bool
        Whether the destination changes at all.
    notes : tuple of str
        Sentences about the card: what of it is left out, and why.
    """

    destination: str
    version: int
    shards: int
    withdrawn: int
    files: int
    bytes: int
    changed: bool
    notes: tuple[str, ...] = ()


class Publish:
    """A publish of the newest version of a catalogue.

    Parameters
    ----------
    catalog : Catalog
    destination : str
        ``hf://datasets/USER/NAME``, ``s3://BUCKET/PREFIX`` or a folder.
    license : str, optional
        Licence of zoos that state none.
    private : bool, default=False
        Make a Hub repository private when it is created.
    partial : bool, default=False
        Publish also what was fetched in part, without the rest of it.

    Raises
    ------
    CatalogError
        If there are such parts and ``partial`` is false, removed checkpoints are still in
        the files, a zoo has no licence, or the destination cannot be reached.
    """

    def __init__(
        self,
        catalog: Catalog,
        destination: str,
        *,
        license: str | None = None,
        private: bool = False,
        partial: bool = False,
    ) -> None:
        catalog.check_writable()
        self.address: Address = parse_address(destination)
        self._catalog, self._license = catalog, (license or "").strip()
        self._check_elsewhere()
        self._store: WritableStore = writable_store(self.address, private=private)
        self._folder = Folder(catalog.root)
        self._local = catalog.snapshot
        self._check_removed()
        if not partial:
            check_complete(catalog)
        self._check_licences()
        self._known = known_shards(self._folder, self.address)

    def _check_elsewhere(self) -> None:
        place = self.address.place
        is_folder = self.address.kind == "folder" and Path(place).exists()
        if is_folder and os.path.samefile(place, self._catalog.root):
            raise CatalogError(
                f"{self.address} is the catalogue itself. Name another folder."
            )

    def _check_removed(self) -> None:
        """Refuse to publish files that still hold what was removed."""
        snapshot = self._local
        removed = any(m.content == "tombstones" for m in snapshot.manifests) and (
            wasteful(self._catalog, snapshot.manifests, 0.0)
            or self._catalog.sql(
                "SELECT 1 FROM shards WHERE content IN ('weights', 'metrics') AND shard "
                "NOT IN (SELECT shard FROM checkpoints) LIMIT 1"
            ).fetchall()
        )
        if removed:
            raise CatalogError(
                f"{self._catalog.root} still holds checkpoints that were removed, and "
                "publishing would show them. Free them first: phasezoo gc --waste 0 "
                f"--grace 0 --catalog {word(self._catalog.root)}"
            )

    def _check_licences(self) -> None:
        if self._license:
            return
        if zoos := self._unlicensed():
            more = ", ..." if len(zoos) > 3 else ""
            raise CatalogError(
                f"No licence is stated for {', '.join(zoos[:3])}{more}. Others may not use "
                "what has none. State it with --license, for instance: --license cc-by-4.0"
            )

    def _unlicensed(self) -> list[str]:
        """Return the zoos with runs that state no licence."""
        rows = self._catalog.sql(
            "SELECT DISTINCT zoo FROM runs WHERE license IS NULL OR license = '' "
            "ORDER BY zoo"
        ).fetchall()
        return [str(zoo) for (zoo,) in rows]

    def plan(self) -> Published:
        """Return what `run` would do now; changes nothing."""
        remote = read_remote(self._store)
        with self._joined(remote, 0) as (joined, card, outgoing):
            return self._described(remote, joined, card, outgoing)

    def run(
        self,
        *,
        planned: Callable[[Published], None] = lambda plan: None,
        moved: Callable[[int], None] = lambda count: None,
    ) -> Published:
        """Upload what is missing and make it visible at once.

        Parameters
        ----------
        planned : callable, optional
            Called once with the plan before anything is uploaded.
        moved : callable, optional
            Called with numbers of uploaded bytes, from several threads.

        Raises
        ------
        CatalogError
            If the destination refuses, others keep publishing to it, or it has other
            weights for one of the checkpoints.
        """
        told = False
        for attempt in range(ATTEMPTS):
            remote = read_remote(self._store)
            with self._joined(remote, attempt) as (joined, card, outgoing):
                done = self._described(remote, joined, card, outgoing)
                if not told:
                    planned(done)
                    told = True
                if not done.changed:
                    self._remember()
                    return done
                self._check_folders(joined)
                for file in outgoing:
                    _check_unchanged(file)
                self._store.put(outgoing, moved)
                try:
                    self._commit(remote, joined, card)
                except HeadMoved:
                    time.sleep(0.2 * attempt)
                    continue
                self._remember()
                return done
        raise CatalogError(
            f"{self._store.address} was changed by others {ATTEMPTS} times in a row. What "
            "was uploaded stays; publish again."
        )

    def _remember(self) -> None:
        """Note what is there from here, so that a later removal travels."""
        with contextlib.suppress(OSError):  # a catalogue that can only be read
            record_shards(self._folder, self.address, self._local.leaves)

    def _described(
        self,
        remote: RemoteSnapshot,
        joined: Snapshot,
        card: PublishedCard,
        outgoing: list[Outgoing],
    ) -> Published:
        before = remote.snapshot.shards.keys()
        new = [m for m in joined.manifests if m.shard not in before]
        gone = before - joined.shards.keys()
        leaves = [s for s in gone if remote.snapshot.shards[s].content != "pack"]
        return Published(
            destination=str(self.address),
            version=joined.version if new or gone else remote.snapshot.version,
            shards=sum(m.content in ("weights", "metrics") for m in new),
            withdrawn=len(leaves),
            files=len(outgoing),
            bytes=sum(file.bytes for file in outgoing),
            changed=bool(new or gone),
            notes=card.notes,
        )

    @contextlib.contextmanager
    def _joined(
        self, remote: RemoteSnapshot, attempt: int
    ) -> Iterator[tuple[Snapshot, PublishedCard, list[Outgoing]]]:
        """Join both sides in a folder of their metadata, which is deleted afterwards."""
        there = remote.snapshot
        new = [
            m
            for m in self._local.manifests
            if m.content != "pack" and m.shard not in there.shards
        ]
        gone = (self._known & there.leaves) - self._local.shards.keys()
        with tempfile.TemporaryDirectory(prefix="phasezoo-publish-") as name:
            staging = Path(name) / "catalogue"
            if not new and not gone:
                yield there, PublishedCard(), []
                return
            Folder(staging).create()
            top = [m for m in there.manifests if not m.pack]
            _link(self._catalog.root, staging, metadata_files(self._local))
            if there.version:
                in_use = MirrorInUse(mirror_root(self.address), self.address, offline=False)
                mirror = mirror_metadata(self._store, self.address, remote)
                _link(mirror, staging, metadata_files(there))
                del in_use
                self._check_agreement(staging, there, new)
            if new:
                top += self._packed(staging, there, new)
            # Another publisher may have taken the next number and been killed.
            version = 1 + attempt + max(there.version, self._local.version)
            joined = Snapshot.of(version, top, there.dropped | gone)
            stated = (
                dict.fromkeys(self._unlicensed(), self._license) if self._license else {}
            )
            sentence = partial_sentence(joined)
            card = published_card(
                self._store,
                self.address,
                staging,
                joined,
                stated=stated,
                notices=[sentence] if sentence else [],
            )
            yield joined, card, self._outgoing(staging, there, joined, card.files)

    def _check_agreement(self, staging: Path, there: Snapshot, new: list[Manifest]) -> None:
        ours = frozenset(m.shard for m in new if m.content == "weights")
        check_agreement(
            ComparedShards(staging, self._local.manifests, ours),
            ComparedShards(staging, there.manifests, frozenset(there.shards)),
            self._store.address,
        )

    def _packed(
        self, staging: Path, there: Snapshot, new: list[Manifest]
    ) -> list[Manifest]:
        """Return new tombstones, and a pack of the metadata of all other new shards."""
        loose = [m for m in new if m.content == "tombstones"]
        members = [replace(m, pack="") for m in new if m.content != "tombstones"]
        names = {m.shard for m in members}
        sources = _sources(self._local, names)
        packs = [m for m in there.manifests if m.content == "pack"]
        if len(packs) >= MOST_PACKS:
            held = {m.pack for m in there.manifests} & {p.shard for p in packs}
            sources += packs
            members += [replace(m, pack="") for m in there.manifests if m.pack in held]
        if not members:
            return [replace(m, group="") for m in loose[:1]] + loose[1:]
        pack = write_pack(Folder(staging), sources, members)
        sequences = [m.sequence for m in (*there.manifests, *self._local.manifests)]
        # Of two packs of one shard the newest counts.
        inside = tuple(replace(member, pack=pack.shard) for member in pack.members)
        pack = replace(pack, sequence=1 + max(sequences), members=inside)
        group = pack.shard.replace("-000001", "-000002") if loose else ""
        return [replace(m, group=group) for m in (*loose, pack)]

    def _outgoing(
        self, staging: Path, there: Snapshot, joined: Snapshot, card: Sequence[Outgoing]
    ) -> list[Outgoing]:
        """Return the files that the destination lacks, with where they are here."""
        held = {file.path for m in there.manifests for file in m.own.values()}
        files = [*card]
        for manifest in joined.manifests:
            for kind, file in manifest.own.items():
                if file.path not in held:
                    root = self._catalog.root if kind == "weights" else staging
                    source = root / file.path
                    files.append(Outgoing(file.path, source, file.bytes, file.sha256))
        present = self._store.present(files)
        return [file for file in files if file.path not in present]

    def _check_folders(self, joined: Snapshot) -> None:
        counts: dict[str, int] = {}
        for manifest in joined.manifests:
            for file in manifest.own.values():
                folder = file.path.rpartition("/")[0]
                counts[folder] = counts.get(folder, 0) + 1
        full = [f"{folder} ({n:,})" for folder, n in counts.items() if n > MOST_FILES]
        if full and self.address.kind == "hf":
            raise CatalogError(
                f"A folder of the Hub holds at most {MOST_FILES:,} files. Got "
                f"{', '.join(full)}. Publish zoos to several repositories."
            )

    def _commit(
        self, remote: RemoteSnapshot, joined: Snapshot, card: PublishedCard
    ) -> None:
        before = remote.snapshot.shards
        records: dict[str, bytes] = {}
        for manifest in joined.manifests:
            if not manifest.pack and manifest.shard not in before:
                text = canonical_json(manifest.to_json())
                records[f"manifests/{manifest.shard}.json"] = text.encode()
                if manifest.group:
                    records[f"manifests/{manifest.group}.group"] = b""
        data = canonical_json(joined.to_json(remote.snapshot.version)).encode()
        records[f"snapshots/{joined.version}.json"] = data
        records |= card.records  # last, just before HEAD
        head = f"{joined.version} {hashlib.sha256(data).hexdigest()}\n".encode()
        self._store.commit(records, head, remote.head, card.superseded)


def _sources(local: Snapshot, names: set[str]) -> list[Manifest]:
    """Return shards and packs that hold the metadata of some shards, and of no others."""
    found = []
    for manifest in local.manifests:
        if manifest.pack:
            continue
        if manifest.content != "pack":
            if manifest.shard in names:
                found.append(manifest)
            continue
        others = frozenset(m.shard for m in manifest.members if m.shard not in names)
        if any(m.shard in names and m.pack for m in _held(local, manifest)):
            found.append(replace(manifest, superseded=manifest.superseded | others))
    return found


def _held(local: Snapshot, pack: Manifest) -> list[Manifest]:
    return [m for m in local.manifests if m.pack == pack.shard]


def _link(root: Path, staging: Path, files: list[File]) -> None:
    """Put metadata files into the staging folder, as hard links where possible."""
    for file in files:
        source = check_size(root, file)
        target = staging / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            continue
        try:
            os.link(os.path.realpath(source), target)
        except OSError:
            shutil.copyfile(source, target)


def _check_unchanged(file: Outgoing) -> None:
    """Refuse a file that is missing or has another size than committed."""
    try:
        size = file.source.stat().st_size
    except FileNotFoundError:
        size = -1
    if size != file.bytes:
        raise ShardCorrupt(
            f"{file.source} is missing or has another size than {file.bytes:,} bytes. Run "
            "'phasezoo verify'. Nothing was published."
        )
