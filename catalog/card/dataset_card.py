"""README.md and croissant.json of a published catalogue, with the files they show."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from catalog.card.body import body
from catalog.card.croissant import ModelsFile, croissant
from catalog.card.destination import Destination
from catalog.card.facts import Facts, facts_of
from catalog.card.front_matter import front_matter
from catalog.card.models_table import MOST_CHECKPOINTS, write_models
from catalog.card.pictures import Picture, draw_phases
from catalog.catalog import Catalog
from catalog.storage.card import METADATA, configurations, free_columns
from catalog.storage.card_files import CARD_FOLDER
from catalog.storage.folder import Folder
from catalog.storage.manifest import File

NOT_STATED = "not stated"
"""Licence of a zoo that states none and for which no publisher stated one."""


@dataclass(frozen=True)
class DatasetCard:
    """Text of a card, and its files.

    Attributes
    ----------
    readme, croissant : bytes
        Content of README.md and croissant.json.
    models : File or None
        Table of the view `models`, which both name; None if there are too many checkpoints.
    pictures : tuple of File
        Pictures that README.md names.
    phases : bool
        Whether any zoo has phases.
    """

    readme: bytes
    croissant: bytes
    models: File | None
    pictures: tuple[File, ...]
    phases: bool


def dataset_card(
    catalog: Catalog,
    destination: Destination,
    *,
    stated: Mapping[str, str],
    notices: Sequence[str] = (),
) -> DatasetCard:
    """Compute the card of a catalogue, and write its files into the folder.

    Reads metadata alone, never weights.

    Parameters
    ----------
    catalog : Catalog
        What is published.
    destination : Destination
    stated : mapping of str to str
        Licences by zoo, for runs that state none.
    notices : sequence of str
        Sentences of plain text that readers must see first.

    Raises
    ------
    CatalogError
        If the metadata cannot be queried.
    """
    folder, snapshot, facts = Folder(catalog.root), catalog.snapshot, facts_of(catalog)
    folder.make(folder.root / CARD_FOLDER)
    models = _models(catalog) if 0 < facts.checkpoints <= MOST_CHECKPOINTS else None
    zoos = [row["zoo"] for row in facts.phases if row["labelled"] > row["unmeasured"]]
    pictures = _kept(folder, draw_phases(catalog, zoos))
    kinds = (*METADATA, "measures")
    configs = configurations(snapshot, kinds)
    if models:
        configs = {"models": [models.file.path], **configs}
    used = {row["zoo"]: stated[row["zoo"]] for row in facts.zoos if row["zoo"] in stated}
    licences = _licences(facts, used)
    known = sorted({name for names in licences.values() for name in names} - {NOT_STATED})
    lines = front_matter(
        facts,
        destination,
        licences=known,
        stated=used,
        configs=configs,
        default="models" if models else METADATA[0],
        free=free_columns(folder, snapshot, kinds),
    )
    lines += body(
        facts,
        destination,
        licences=licences,
        pictures=[(file.path, picture) for file, picture in pictures],
        configs=configs,
        default="models" if models else METADATA[0],
        notices=notices,
    )
    weights: dict[str, list[File]] = {}
    for manifest in snapshot.manifests:
        if "weights" in manifest.own:
            weights.setdefault(manifest.arch_id, []).append(manifest.own["weights"])
    described = croissant(
        facts, destination, licences=known, models=models, weights=weights
    )
    return DatasetCard(
        readme="\n".join(lines).encode(),
        croissant=described,
        models=models.file if models else None,
        pictures=tuple({file.path: file for file, _ in pictures}.values()),
        phases=bool(facts.phases),
    )


def _models(catalog: Catalog) -> ModelsFile:
    """Write the table of models and give it the name of its content."""
    temporary = catalog.root / CARD_FOLDER / "models.parquet"
    rows = write_models(catalog, temporary)
    schema = pq.read_schema(temporary)
    with temporary.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    path = f"{CARD_FOLDER}/models-{digest[:12]}.parquet"
    temporary.rename(catalog.root / path)
    size = (catalog.root / path).stat().st_size
    return ModelsFile(File(path, size, digest, rows), schema)


def _kept(folder: Folder, pictures: Sequence[Picture]) -> list[tuple[File, Picture]]:
    """Write pictures and return them with their files; equal pictures share one."""
    kept = []
    for picture in pictures:
        digest = hashlib.sha256(picture.png).hexdigest()
        path = f"{CARD_FOLDER}/phases-{digest[:12]}.png"
        (folder.root / path).write_bytes(picture.png)
        kept.append((File(path, len(picture.png), digest, 0), picture))
    return kept


def _licences(facts: Facts, stated: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the licences of every zoo."""
    licences = {}
    for zoo in facts.zoos:
        names = set(zoo["licences"] or ())
        if zoo["unlicensed"]:
            names.add(stated.get(zoo["zoo"], NOT_STATED))
        licences[zoo["zoo"]] = sorted(names)
    return licences
