"""Fetching a part: the rows, tensors and checkpoints that were asked for, and no more.

What arrives is a catalogue like any other. Its shards are reduced: each names the shard
that it is a part of. A shard that is wanted as a whole comes as it is. Asking for more
later downloads what is missing and commits the checkpoints again with all their tensors;
the poorer commits do not count any more (`catalog.index.precedence`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from catalog.catalog import Catalog
from catalog.errors import CatalogError
from catalog.remote.address import parse_address, pinned
from catalog.remote.agreement import ComparedShards, check_agreement
from catalog.remote.cache_folder import cache_refusals, cache_root
from catalog.remote.download import check_room, download
from catalog.remote.gathered import Gathered
from catalog.remote.origins import known_parts, known_shards, record_shards
from catalog.remote.part_measures import missing_measures
from catalog.remote.pieces import Asked, Piece, Pieces, find_pieces
from catalog.remote.reduced_shards import (
    original_of,
    read_rows,
    reduced_part,
    whole_part,
)
from catalog.remote.remote_catalog import RemoteCatalog
from catalog.storage.folder import Folder
from catalog.storage.manifest import File
from catalog.writer import Part, Writer

THREADS = 8
"""Shards that are downloaded at once, and requests at once."""

ATTEMPTS = 4
"""Times that a fetch is planned anew because another one committed meanwhile."""


@dataclass(frozen=True)
class PartPlan:
    """Plan of a fetch of a part.

    Attributes
    ----------
    source : str
        Address.
    version : int
        Version of the source.
    checkpoints : int
        Checkpoints that are new here, or will have more tensors.
    held : int
        Checkpoints that are here already, with all tensors that were asked for.
    without : int
        Selected checkpoints that have none of these tensors; they are not fetched.
    removed : int
        Selected checkpoints that came from the source earlier and were removed here.
    shards : int
        Shards that are new here.
    whole : int
        Those of them that are fetched as they are.
    measures : int
        Rows of measures that are new here.
    bytes : int
        Weights to download. The metadata of the source comes into the cache apart.
    """

    source: str
    version: int
    checkpoints: int
    held: int
    without: int
    removed: int
    shards: int
    whole: int
    measures: int
    bytes: int


class PartialFetch:
    """A fetch of some rows, tensors and checkpoints of a source.

    Parameters
    ----------
    source : str
        ``hf://datasets/USER/NAME``, ``s3://BUCKET/PREFIX``, ``https://HOST/FOLDER`` or a
        folder.
    root : Path
        Local catalogue, which is made if it is not there.
    asked : Asked
        What to fetch.
    revision : str, optional
        Version number; for the Hub a branch, tag or commit.
    again : bool, default=False
        Fetch also what came from this source before and was removed here.

    Attributes
    ----------
    plan : PartPlan
        What `run` would do.

    Raises
    ------
    NotFound
        If there is no catalogue at the source, no such revision, or no checkpoint or
        tensor matches.
    CatalogError
        If the source cannot be read, or both sides have other weights for one checkpoint.

    Notes
    -----
    Memory holds the metadata of the selected checkpoints, the hashes of one shard per
    thread, and a few blocks of weights.
    """

    def __init__(
        self,
        source: str,
        root: Path,
        asked: Asked,
        *,
        revision: str | None = None,
        again: bool = False,
    ) -> None:
        self.address, version = pinned(parse_address(source), revision)
        self._asked, self._again = asked, again
        self._folder = Folder(root.absolute())
        if (root / "manifests").is_dir():
            self._folder.pin()  # another folder in its place is not written to
        with cache_refusals(cache_root()):
            self._source = RemoteCatalog(self.address, at=version)
        with self._folder.writing():
            self._look()

    def _look(self) -> None:
        """Compare the source with what is here now."""
        root = self._folder.root
        self._folder.check_same()
        here = Catalog(root) if (root / "manifests").is_dir() else None
        self._here = here
        shared = known_shards(self._folder, self.address) if here else set()
        pieces = find_pieces(
            self._source,
            here,
            self._asked,
            str(self.address),
            shared=shared,
            again=self._again,
        )
        if here is not None:
            self._check_agreement(here, pieces)
        self._pieces = pieces
        self._measures = missing_measures(self._source, here, pieces.keys)
        with cache_refusals(cache_root()):
            self._weights = {
                i: Gathered(piece, self._source, here)
                for i, piece in enumerate(pieces.pieces)
                if piece.layout is not None and not piece.whole
            }
        self.plan = self._planned()

    def _check_agreement(self, here: Catalog, pieces: Pieces) -> None:
        everything = frozenset(self._source.snapshot.shards)
        check_agreement(
            ComparedShards(
                here.root, here.snapshot.manifests, frozenset(here.snapshot.shards)
            ),
            ComparedShards(self._source.root, self._source.snapshot.manifests, everything),
            str(self.address),
            pieces.keys,
        )

    def _planned(self) -> PartPlan:
        pieces = self._pieces
        ranges = sum(weights.missing_bytes() for weights in self._weights.values())
        return PartPlan(
            source=str(self.address),
            version=self._source.version,
            checkpoints=sum(map(len, pieces.pieces)),
            held=pieces.held,
            without=pieces.without,
            removed=pieces.removed,
            shards=len(pieces.pieces),
            whole=sum(piece.whole for piece in pieces.pieces),
            measures=sum(len(table) for _, table in self._measures),
            bytes=ranges + sum(file.bytes for file in self._whole_files()),
        )

    def _whole_files(self) -> list[File]:
        """Return the weight files that are fetched as they are."""
        return [
            piece.manifest.files["weights"]
            for piece in self._pieces.pieces
            if piece.whole and piece.layout is not None
        ]

    def run(
        self, *, verify: bool = True, moved: Callable[[int], None] = lambda count: None
    ) -> Catalog:
        """Download what is missing and commit it all at once.

        Parameters
        ----------
        verify : bool, default=True
            Compare files that are fetched as they are with their digests. Tensors that are
            fetched alone are always compared with theirs.
        moved : callable, optional
            Called with numbers of bytes, from several threads.

        Returns
        -------
        Catalog
            The local catalogue with what was fetched.

        Raises
        ------
        CatalogError
            If a download fails or a tensor is not the one that was committed: nothing is
            committed. What has arrived stays in the cache.
        """
        folder = self._folder
        written = sum(_size(piece) for piece in self._pieces.pieces)
        check_room(folder.root, written)
        check_room(cache_root(), self.plan.bytes)
        with folder.writing():
            if self._here is None:
                folder.create()
                folder.pin()
            else:
                folder.check_writable()
            for _ in range(ATTEMPTS):
                if self._commit(verify, moved):
                    return Catalog(folder.root)
                self._look()
        raise CatalogError(
            f"{folder.root} was changed by other fetches {ATTEMPTS} times in a row. What "
            "has arrived is kept: run the same command again to go on."
        )

    def _commit(self, verify: bool, moved: Callable[[int], None]) -> bool:
        """Write and publish all pieces; return False if what is here changed meanwhile."""
        folder = self._folder
        if not self._pieces.pieces and not self._measures:
            with folder.lock("fetch"):
                self._record()
            return True
        with Writer(folder.root, same=folder) as writer:
            parts = self._parts(writer, verify, moved)
            with folder.lock("fetch"):
                if self._changed():
                    writer.discard()
                    return False
                writer.publish(parts, self._measures)
                self._record()
        return True

    def _parts(
        self, writer: Writer, verify: bool, moved: Callable[[int], None]
    ) -> list[Part]:
        """Download and write all pieces, several at once."""
        pieces, folder = self._pieces.pieces, self._folder
        arrived: dict[str, Path] = {}
        if files := self._whole_files():
            incoming = folder.root / "cache" / "incoming"
            folder.make(incoming)
            arrived = download(
                self._source.store, files, incoming, verify=verify, moved=moved
            )
        parts: list[Part] = []
        with self._downloads(moved) as downloads:
            for i, piece in enumerate(pieces):
                rows = read_rows(self._source, piece.keys)
                if piece.whole:
                    parts.append(
                        whole_part(writer, folder, self._source, piece, rows, arrived)
                    )
                    continue
                if i in downloads:
                    downloads[i].result()
                parts.append(reduced_part(writer, piece, self._weights.get(i), rows))
        return parts

    @contextmanager
    def _downloads(self, moved: Callable[[int], None]) -> Iterator[dict[int, Future[None]]]:
        """Download the weights of all pieces in the background."""
        stop = threading.Event()
        shards = min(THREADS, max(len(self._weights), 1))
        with ThreadPoolExecutor(shards, "phasezoo-fetch") as pool:
            try:
                yield {
                    i: pool.submit(weights.download, THREADS // shards, moved, stop)
                    for i, weights in self._weights.items()
                }
            except BaseException:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _changed(self) -> bool:
        """Report if another fetch committed since the plan was made."""
        if self._here is None:
            return bool(Catalog(self._folder.root).snapshot.shards)
        newest = self._here.refreshed()
        if newest.snapshot.shards.keys() == self._here.snapshot.shards.keys():
            return False
        query = (
            'SELECT asked.run_id, asked.step, c.shard, c."row" FROM asked LEFT JOIN '
            "checkpoints c USING (run_id, step) ORDER BY ALL"
        )
        before, now = (zoo.about(self._pieces.keys, query) for zoo in (self._here, newest))
        return not before.equals(now)

    def _record(self) -> None:
        """Note which shards are shared with the source, and which are parts of its own."""
        here = Catalog(self._folder.root).snapshot
        there = self._source.snapshot
        originals = {original_of(m) for m in there.manifests if "checkpoints" in m.files}
        parts = {m.shard for m in here.manifests if m.partial in originals}
        parts |= known_parts(self._folder, self.address) & here.shards.keys()
        shared = known_shards(self._folder, self.address) | (here.leaves & there.leaves)
        record_shards(self._folder, self.address, shared, parts - shared)


def _size(piece: Piece) -> int:
    """Return the bytes that a piece will take here."""
    if piece.layout is None:
        return 0
    return len(piece) * piece.layout.nbytes
