"""Citation of a catalogue at a version, as BibTeX."""

from __future__ import annotations

import re
from typing import NamedTuple

from catalog.catalog import Catalog
from catalog.names import content_id
from catalog.remote.address import is_url, parse_address
from catalog.remote.remote_snapshot import read_remote
from catalog.remote.stores import readable_store
from catalog.storage.snapshot import Snapshot


class Citation(NamedTuple):
    """Version of a catalogue, as a paper names it.

    Attributes
    ----------
    key : str
        BibTeX key.
    address : str
        Folder or URL.
    version : int
    id : str
        Hash of the files that were committed, wherever their metadata is packed: equal for
        equal content.
    year : str
        Year of the newest commit.
    """

    key: str
    address: str
    version: int
    id: str
    year: str

    def bibtex(self) -> str:
        """Return the citation as a BibTeX entry."""
        place = f"url = {{{self.address}}}" if is_url(self.address) else ""
        lines = [
            f"@misc{{{self.key},",
            f"  title = {{{_escaped(self.key)}: a catalogue of neural networks}},",
            f"  year = {{{self.year}}},",
            *([f"  {place},"] if place else []),
            f"  note = {{phasezoo catalogue, version {self.version}, content {self.id}}}",
            "}",
        ]
        return "\n".join(lines)


def cite(catalog: Catalog) -> Citation:
    """Return the citation of a local catalogue at its version."""
    return citation(str(catalog.root), catalog.snapshot)


def cite_remote(address: str, version: int | None = None) -> Citation:
    """Return the citation of a remote catalogue; reads HEAD and one snapshot.

    Raises
    ------
    CatalogError
        If it cannot be read.
    """
    parsed = parse_address(address)
    remote = read_remote(readable_store(parsed), version)
    return citation(str(parsed), remote.snapshot)


def citation(address: str, snapshot: Snapshot) -> Citation:
    """Return the citation of a snapshot at an address."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", address.rstrip("/").rpartition("/")[2]).strip("_")
    newest = max((m.created for m in snapshot.manifests), default="")
    key = f"{name or 'catalogue'}_v{snapshot.version}"
    content = sorted(
        [m.shard, sorted(file.sha256 for file in m.files.values())]
        for m in snapshot.manifests
        if m.content != "pack"
    )
    identity = content_id(content, 16)
    return Citation(key, address, snapshot.version, identity, newest[:4] or "n.d.")


def _escaped(text: str) -> str:
    return text.replace("_", r"\_")
