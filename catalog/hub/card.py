"""Columns from the card of a model: licence, base models, tags and downloads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from catalog.formats.columns import Row
from catalog.names import is_unicode

RELATIONS = ("finetune", "adapter", "quantized", "merge")
"""Relations of a model to its base models, as the Hub calls them."""

UNKNOWN = "base"
"""Role of a base model where the card and the Hub state no relation."""

_BASE = "base_model:"
_LICENSE = "license:"
_LARGEST_COUNT = 1 << 62


def card_columns(info: Mapping[str, Any]) -> tuple[Row, Row]:
    """Return columns of the run and of the checkpoint, null where nothing is stated.

    Parameters
    ----------
    info : mapping of str to Any
        Answer of the Hub about a model. Values of another type than expected count as not
        stated, since cards are written by hand.
    """
    tags = _texts(info.get("tags"))
    licences = _texts(_card(info).get("license")) or [
        tag.removeprefix(_LICENSE) for tag in tags if tag.startswith(_LICENSE)
    ]
    downloads = info.get("downloads")
    counted = type(downloads) is int and 0 <= downloads < _LARGEST_COUNT
    run: Row = {
        "license": ", ".join(licences) or None,
        "base_model": ", ".join(base_models(info)) or None,
        "base_model_relation": relation(info),
        "tags": _json(tags) if isinstance(info.get("tags"), list) else None,
    }
    return run, {"downloads": downloads if counted else None}


def base_models(info: Mapping[str, Any]) -> list[str]:
    """Return the names of the base models that the card states, else those of the tags."""
    stated = _texts(_card(info).get("base_model"))
    if not stated:
        stated = [
            tag.removeprefix(_BASE).rpartition(":")[2]
            for tag in _texts(info.get("tags"))
            if tag.startswith(_BASE)
        ]
    return list(dict.fromkeys(stated))


def relation(info: Mapping[str, Any]) -> str | None:
    """Return the relation to the base models, one of `RELATIONS`, or None."""
    stated = _card(info).get("base_model_relation")
    if stated in RELATIONS:
        return str(stated)
    for tag in _texts(info.get("tags")):
        for name in RELATIONS:
            if tag.startswith(f"{_BASE}{name}:"):
                return name
    return None


def _card(info: Mapping[str, Any]) -> Mapping[str, Any]:
    card = info.get("cardData")
    return card if isinstance(card, Mapping) else {}


def _texts(value: Any) -> list[str]:
    """Return the texts of a value that is a text or a list of texts."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list):
        return []
    texts = [text.strip() for text in values if isinstance(text, str) and is_unicode(text)]
    return [text for text in texts if text]


def _json(texts: Sequence[str]) -> str:
    return json.dumps(list(texts), ensure_ascii=False)
