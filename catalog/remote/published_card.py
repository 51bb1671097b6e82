"""Card of a catalogue at its destination: what a publish uploads for it, and replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from catalog.card.croissant import is_our_description
from catalog.card.dataset_card import dataset_card
from catalog.card.destination import Destination
from catalog.card.licences import stated_in
from catalog.card.pictures import can_draw
from catalog.catalog import Catalog
from catalog.errors import NotFound
from catalog.remote.address import Address
from catalog.remote.cite import citation
from catalog.remote.store import Outgoing, Store
from catalog.storage.card import is_our_card
from catalog.storage.card_files import named_in
from catalog.storage.folder import Folder
from catalog.storage.snapshot import Snapshot, publish_snapshot

LARGEST_CARD = 64 << 20
"""Bytes of a README or description that is read."""


class PublishedCard(NamedTuple):
    """Part of a publish that is not needed to read the catalogue.

    Attributes
    ----------
    records : mapping of str to bytes
        README.md and croissant.json, unless somebody else wrote them.
    files : tuple of Outgoing
        Files that these name.
    superseded : tuple of str
        Files that earlier ones named, and these do not.
    notes : tuple of str
        Sentences for the publisher.
    """

    records: Mapping[str, bytes] = {}
    files: tuple[Outgoing, ...] = ()
    superseded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def published_card(
    store: Store,
    address: Address,
    staging: Path,
    joined: Snapshot,
    *,
    stated: Mapping[str, str],
    notices: Sequence[str] = (),
) -> PublishedCard:
    """Compute the card of a version that is about to be published.

    Parameters
    ----------
    store : Store
        Destination, whose present card is read.
    address : Address
    staging : Path
        Folder with the metadata of the version; the card's files are written there too.
    joined : Snapshot
        The version.
    stated : mapping of str to str
        Licences by zoo, for runs that state none; they add to those of the present card.
    notices : sequence of str
        Sentences of plain text that the card shows first.

    Raises
    ------
    CatalogError
        If the present card cannot be read, or the metadata cannot be queried.
    """
    readme, described = _text(store, "README.md"), _text(store, "croissant.json")
    ours = {
        "README.md": not readme or is_our_card(readme),
        "croissant.json": not described or is_our_description(described),
    }
    notes = [
        f"{name} at the destination was written by somebody else and stays as it is."
        for name, replaceable in ours.items()
        if not replaceable
    ]
    if not any(ours.values()):
        return PublishedCard(notes=tuple(notes))
    earlier = stated_in(readme) if ours["README.md"] else {}
    with Folder(staging).writing():
        publish_snapshot(Folder(staging), joined, 0)
        card = dataset_card(
            Catalog(staging),
            _destination(address, joined),
            stated=earlier | dict(stated),
            notices=notices,
        )
    if ours["README.md"] and card.phases and not can_draw():
        notes.append(
            "The card has no pictures of the phases, because matplotlib is not installed: "
            "pip install 'phasezoo[report]'"
        )
    texts = {"README.md": card.readme, "croissant.json": card.croissant}
    records = {name: text for name, text in texts.items() if ours[name]}
    files = [*([card.models] if card.models else [])]
    files += card.pictures if ours["README.md"] else ()
    needed = {file.path for file in files}
    for name, text in (("README.md", readme), ("croissant.json", described)):
        needed |= set() if ours[name] else named_in(text)
    return PublishedCard(
        records=records,
        files=tuple(Outgoing(f.path, staging / f.path, f.bytes, f.sha256) for f in files),
        superseded=tuple(sorted((named_in(readme) | named_in(described)) - needed)),
        notes=tuple(notes),
    )


def _text(store: Store, path: str) -> str:
    """Return the text of a file there; empty if there is none."""
    try:
        return store.read(path, LARGEST_CARD).decode("utf-8", "replace")
    except NotFound:
        return ""


def _destination(address: Address, joined: Snapshot) -> Destination:
    cited = citation(str(address), joined)
    dates = [manifest.created for manifest in joined.manifests]
    return Destination(
        name=str(address).rstrip("/").rpartition("/")[2] or "zoo",
        address="FOLDER" if address.kind == "folder" else str(address),
        repository=address.place if address.kind == "hf" else "",
        version=joined.version,
        content=cited.id,
        date=max(dates, default="")[:10],
        bibtex=cited.bibtex(),
    )
