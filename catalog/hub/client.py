"""Questions to the Hub about models: one request tells commit, files and card.

The answer is read with our own bounded reader, not with the Hub's client: that would keep
an endless answer in memory, and has connections of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from catalog.errors import CatalogError, NotFound
from catalog.formats.columns import Row
from catalog.formats.json_columns import parse_settings
from catalog.hub.address import ModelAddress
from catalog.hub.card import UNKNOWN, base_models, card_columns, relation
from catalog.remote.http_store import HttpStore
from catalog.remote.hub_pages import hub_pages
from catalog.remote.store import TransferInterrupted

LARGEST_ANSWER = 16 << 20
"""Bytes of an answer about a model above which it is refused."""

_FIELDS = ("sha", "siblings", "cardData", "tags", "downloads")
_ATTEMPTS = 3
_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Model:
    """Answer of the Hub about a revision of a model.

    Attributes
    ----------
    repository, commit : str
        Name of the model, and the commit that the revision is now.
    files : list of str
        Paths of all files.
    bases : list of str
        Names of the base models that its card states.
    role : str
        Relation to the base models.
    run, checkpoint : dict
        Columns of the card.
    """

    repository: str
    commit: str
    files: list[str]
    bases: list[str]
    role: str
    run: Row
    checkpoint: Row


class HubClient:
    """Connections to the Hub, which several threads may use."""

    def __init__(self) -> None:
        self._pages = hub_pages()

    def describe(self, address: ModelAddress) -> Model:
        """Ask the Hub about a model.

        Raises
        ------
        NotFound
            If there is no such model or revision.
        CatalogError
            If the Hub refuses, or its answer is none about a model.
        """
        target = f"api/models/{quote(address.repository)}"
        if address.revision:
            target += f"/revision/{quote(address.revision, safe='')}"
        target += "?" + "&".join(f"expand={field}" for field in _FIELDS)
        shown = str(address._replace(file=""))
        try:
            text = again(lambda: self._pages.ask(target, shown, LARGEST_ANSWER))
        except NotFound as error:
            raise NotFound(
                f"The Hub has no model {shown}, or you may not see it. Check the name and "
                "the revision; for a private model log in: hf auth login"
            ) from error
        info = parse_settings(text, f"The answer of the Hub about {shown}")
        commit, siblings = info.get("sha"), info.get("siblings")
        if not (isinstance(commit, str) and _COMMIT.fullmatch(commit)):
            raise CatalogError(
                f"The answer of the Hub about {shown} states no commit. Got "
                f"{str(commit)[:80]!r}."
            )
        files = [
            entry["rfilename"]
            for entry in (siblings if isinstance(siblings, list) else [])
            if isinstance(entry, dict) and isinstance(entry.get("rfilename"), str)
        ]
        return Model(
            address.repository,
            commit,
            files,
            base_models(info),
            relation(info) or UNKNOWN,
            *card_columns(info),
        )

    def files(self, model: Model) -> HttpStore:
        """Return a reader of the files of a model, at the commit that was described."""
        path = f"{model.repository}/resolve/{model.commit}"
        return self._pages.below(path, f"hf://{model.repository}")


def again(read: Callable[[], Result]) -> Result:
    """Return what a small read gives, after a few attempts if connections break."""
    for attempt in range(_ATTEMPTS):
        try:
            return read()
        except TransferInterrupted:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError
