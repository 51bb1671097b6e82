"""Manifests: the commit records of shards. Readers ignore files that no manifest names.

Every value is checked on reading, because a manifest may come from a stranger. It may
only name files inside the catalogue.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError, ShardCorrupt
from catalog.storage.folder import DATA_PATH, SHARD_NAME, Folder

FORMAT = (2, 1)
"""Version of the on-disk format; readers refuse a greater major number.

A file states the lowest version that describes it, so that older readers can read it."""

FIRST_FORMAT = (1, 0)
SECOND_FORMAT = (2, 0)

CONTENTS = {
    "weights": {"weights", "runs", "checkpoints", "tensors", "tensor_stats", "chunks"},
    "metrics": {"runs", "checkpoints"},
    "measures": {"measures"},
    "tombstones": {"tombstones"},
    "pack": {"runs", "checkpoints", "tensors", "tensor_stats", "chunks", "measures"},
}
"""Kinds of files by content of a shard; a pack has some of the listed kinds."""

_SINCE_FORMAT_2 = ("tombstones", "pack")

_HEX = re.compile(r"[0-9a-f]{64}")
_LIMIT = 1 << 50


@dataclass(frozen=True)
class File:
    """One file of a shard.

    Attributes
    ----------
    path : str
        Path relative to the catalogue's root.
    bytes : int
        Size of the file.
    sha256 : str
        Hexadecimal digest of the whole file.
    rows : int
        Number of rows of the Parquet file.
    """

    path: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class Original:
    """Shard elsewhere of which a shard holds some rows or tensors.

    Attributes
    ----------
    shard : str
        Its name.
    sha256 : str
        Hexadecimal digest of its weight file; of its ``checkpoints`` if it has no weights.
    """

    shard: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Commit record of one shard.

    Attributes
    ----------
    shard : str
        Name, ``<writer>-<number>``.
    content : {"weights", "metrics", "measures", "tombstones", "pack"}
        Content of the shard, respectively: networks; rows without weights; later results
        about known checkpoints; keys of removed checkpoints; metadata of other shards,
        joined into one file of each kind.
    sequence : int
        Position in the order of commits. The newest measure wins by (sequence, sha256).
    created : str
        UTC time, ISO 8601.
    writer : str
        Version of the code that wrote the shard.
    files : mapping of str to File
        Files by kind: ``weights`` and the metadata kinds.
    arch_id, layout_id : str
        Identifiers of architecture and layout; empty unless ``content`` is weights.
    footer_sha256 : str
        Digest of the last ``footer_bytes`` of the weight file. The offsets in ``chunks``
        may be used while it matches.
    footer_bytes : int
        Length of the Parquet footer with its length field and magic.
    measure_columns : tuple of str
        Result columns, if ``content`` is measures.
    members : tuple of Manifest
        Manifests of the shards whose metadata a pack holds, as they were committed. Their
        weights stay where they are.
    group : str
        Name of the commit that the shard shares with other shards, or empty. The shard
        exists as soon as ``manifests/<group>.group`` does.
    partial : Original, optional
        Shard of which this one holds some rows or tensors, as a fetch of a part leaves it.
        Its checkpoints count only where no other shard holds them.
    pack : str
        Name of the pack that holds the metadata of a member. Not written; `from_json` of
        the pack sets it.
    superseded : frozenset of str
        Members of a pack whose rows in the files of the pack are ignored, because a newer
        pack holds the members or they were dropped. Not written; `Snapshot.of` sets it.
    """

    shard: str
    content: str
    sequence: int
    created: str
    writer: str
    files: Mapping[str, File]
    arch_id: str = ""
    layout_id: str = ""
    footer_sha256: str = ""
    footer_bytes: int = 0
    measure_columns: tuple[str, ...] = ()
    members: tuple[Manifest, ...] = ()
    group: str = ""
    partial: Original | None = None
    pack: str = ""
    superseded: frozenset[str] = frozenset()

    @property
    def own(self) -> Mapping[str, File]:
        """Files that belong to the shard; a member of a pack has only its weights."""
        if not self.pack:
            return self.files
        return {kind: file for kind, file in self.files.items() if kind == "weights"}

    def whole(self, groups: Collection[str]) -> bool:
        """Return whether the commit is complete, given the names of complete groups."""
        return not self.group or self.group in groups

    @property
    def format(self) -> tuple[int, int]:
        """Lowest version of the format that describes the shard."""
        if self.partial or any(member.partial for member in self.members):
            return FORMAT
        newer = self.content in _SINCE_FORMAT_2 or self.group
        return SECOND_FORMAT if newer else FIRST_FORMAT

    @property
    def order(self) -> tuple[int, str]:
        """Sort key of commits: sequence, then smallest digest of the files."""
        return self.sequence, min(file.sha256 for file in self.files.values())

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain values for JSON."""
        value: dict[str, Any] = vars(self).copy()
        del value["members"], value["pack"], value["superseded"], value["partial"]
        value["files"] = {kind: vars(file).copy() for kind, file in self.files.items()}
        value["format"] = list(self.format)
        value["measure_columns"] = list(self.measure_columns)
        if not self.group:
            del value["group"]
        if self.partial:
            value["partial"] = vars(self.partial).copy()
        if self.members:
            value["members"] = [member.to_json() for member in self.members]
        return value

    @classmethod
    def from_json(cls, value: Any, where: str) -> Manifest:
        """Create a manifest from parsed JSON, and check every field.

        Parameters
        ----------
        value : Any
            Parsed JSON of the manifest.
        where : str
            Name of the file for error messages.

        Raises
        ------
        ShardCorrupt
            If a field is missing or has the wrong type, or a path is not that of the shard.
        CatalogError
            If the manifest has a newer major version of the format.
        """
        return _Checked(value, where).manifest()


class _Checked:
    """Typed access to the untrusted JSON of a manifest."""

    def __init__(self, value: Any, where: str, *, of_pack: bool = False) -> None:
        self.where, self.contents = where, set(CONTENTS)
        if of_pack:
            self.contents -= set(_SINCE_FORMAT_2)
        self.value = self.expect(isinstance(value, dict), value, "an object", value)

    def expect(self, ok: bool, value: Any, expectation: str, shown: Any) -> Any:
        if not ok:
            raise ShardCorrupt(
                f"{self.where} is not a valid manifest: expected {expectation}. Got "
                f"{_shown(shown)}. Run 'phasezoo verify --repair'. If that does not repair "
                "it, fetch or train the shard again."
            )
        return value

    def text(self, key: str, pattern: str) -> str:
        value = self.value.get(key)
        ok = isinstance(value, str) and re.fullmatch(pattern, value) is not None
        return str(self.expect(ok, value, f"{key!r} to match {pattern}", value))

    def number(self, value: Any, name: str) -> int:
        ok = isinstance(value, int) and not isinstance(value, bool)
        self.expect(ok and 0 <= value < _LIMIT, value, f"{name} in [0, 2^50)", value)
        return int(value)

    def manifest(self) -> Manifest:
        check_format(self.value.get("format"), self.where)
        shard = self.text("shard", SHARD_NAME.pattern)
        content = self.text("content", "|".join(sorted(self.contents)))
        files = self.value.get("files")
        ok = isinstance(files, dict) and (
            files.keys() == CONTENTS[content]
            or (content == "pack" and len(files) > 0 and files.keys() <= CONTENTS[content])
        )
        self.expect(ok, files, f"'files' of the kinds {sorted(CONTENTS[content])}", files)
        columns = self.value.get("measure_columns")
        ok = isinstance(columns, list) and all(map(_is_column, columns))
        self.expect(ok, columns, "'measure_columns' to be a list of names", columns)
        return Manifest(
            shard=shard,
            content=content,
            sequence=self.number(self.value.get("sequence"), "'sequence'"),
            created=self.text("created", r"[0-9T:.Z+-]{10,40}"),
            writer=self.text("writer", r"[ -~]{0,100}"),
            files={k: self.file(k, v, shard) for k, v in files.items()},
            arch_id=self.text("arch_id", r"[a-z0-9-]{0,120}"),
            layout_id=self.text("layout_id", r"[0-9a-f]{0,16}"),
            footer_sha256=self.text("footer_sha256", r"(?:[0-9a-f]{64})?"),
            footer_bytes=self.number(self.value.get("footer_bytes"), "'footer_bytes'"),
            measure_columns=tuple(columns),
            members=self.members(shard) if content == "pack" else (),
            group=self.text("group", SHARD_NAME.pattern) if "group" in self.value else "",
            partial=self.original(content) if "partial" in self.value else None,
        )

    def original(self, content: str) -> Original:
        value = self.value["partial"]
        ok = content in ("weights", "metrics") and isinstance(value, dict)
        self.expect(ok, value, "'partial' to be an object, of networks only", value)
        shard, digest = value.get("shard"), value.get("sha256")
        ok = isinstance(shard, str) and SHARD_NAME.fullmatch(shard) is not None
        self.expect(ok, shard, "'partial' to name a shard", shard)
        ok = isinstance(digest, str) and _HEX.fullmatch(digest) is not None
        self.expect(ok, digest, "a sha256 of 64 hex digits", digest)
        return Original(shard, digest)

    def members(self, pack: str) -> tuple[Manifest, ...]:
        values = self.value.get("members")
        ok = isinstance(values, list) and bool(values)
        values = self.expect(ok, values, "'members' to be a list of manifests", values)
        where = f"{self.where}, a member"
        members = [_Checked(v, where, of_pack=True).manifest() for v in values]
        names = {member.shard for member in members}
        self.expect(len(names) == len(members), names, "distinct members", len(names))
        return tuple(replace(member, pack=pack) for member in members)

    def file(self, kind: str, value: Any, shard: str) -> File:
        self.expect(isinstance(value, dict), value, "a file record", value)
        path, digest = value.get("path"), value.get("sha256")
        match = DATA_PATH.fullmatch(path) if isinstance(path, str) else None
        ok = match is not None and match[1] == shard and path.split("/")[0] == kind
        self.expect(ok, path, f"a path like {kind}/.../{shard}.parquet", path)
        ok = isinstance(digest, str) and _HEX.fullmatch(digest) is not None
        self.expect(ok, digest, "a sha256 of 64 hex digits", digest)
        return File(
            path,
            self.number(value.get("bytes"), "'bytes'"),
            str(digest),
            self.number(value.get("rows"), "'rows'"),
        )


def _shown(value: Any) -> str:
    """Return a short text of a value for an error, however long or deep the value is."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) < 120 else text[:117] + "..."


def _is_column(name: Any) -> bool:
    return isinstance(name, str) and name.isprintable()


def check_format(version: Any, where: str) -> None:
    """Check that this code can read a version of the format.

    Raises
    ------
    ShardCorrupt
        If the value is not a version.
    CatalogError
        If its major number is greater than that of `FORMAT`.
    """
    ok = (
        isinstance(version, list)
        and len(version) == 2
        and all(isinstance(v, int) and not isinstance(v, bool) for v in version)
    )
    if not ok:
        raise ShardCorrupt(
            f"{where} has no valid format version. Expected [major, minor], got "
            f"{_shown(version)}."
        )
    if version[0] > FORMAT[0]:
        raise CatalogError(
            f"{where} has format {version[0]}.{version[1]}; this phasezoo reads up to "
            f"{FORMAT[0]}.x. Upgrade: pip install -U phasezoo"
        )


def parse_json(folder: Folder, path: Path, sha256: str = "") -> Any:
    """Parse a JSON file of the catalogue.

    Raises
    ------
    ShardCorrupt
        If the file is missing, is not JSON, or does not have the digest ``sha256``.
    """
    return loads(path, read_bytes(folder, path, sha256))


def read_bytes(folder: Folder, path: Path, sha256: str = "") -> bytes:
    """Read the bytes of a JSON file, and check its digest if given; see `parse_json`."""
    try:
        data = folder.read(path)
    except FileNotFoundError as error:
        raise ShardCorrupt(f"{path} is missing. Run 'phasezoo verify'.") from error
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise ShardCorrupt(
            f"{path} is not the file that HEAD names (its sha256 differs). Delete HEAD; it "
            "will be rebuilt from manifests/."
        )
    return data


def loads(path: Path, data: bytes) -> Any:
    """Parse the bytes of a JSON file; see `parse_json`."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ShardCorrupt(
            f"{path} is not valid JSON ({error}). Run 'phasezoo verify'."
        ) from error


def read_manifest(folder: Folder, shard: str) -> Manifest:
    """Read and check the commit record of one shard."""
    path = folder.manifest(shard)
    manifest = Manifest.from_json(parse_json(folder, path), str(path))
    if manifest.shard != shard:
        raise ShardCorrupt(f"{path} is the manifest of shard {manifest.shard!r}.")
    return manifest
