"""Resolution of an identifier to the object that it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from catalog.catalog import Catalog
from catalog.console.pasting import word
from catalog.errors import NotFound, closest
from catalog.rows import Rows, rows_of
from catalog.show.architecture import describe_architecture
from catalog.show.checkpoint import describe_checkpoint
from catalog.show.run import describe_run
from catalog.show.shard import describe_shard
from catalog.show.zoo import describe_zoo

SHORTEST = 4
"""Minimum number of first characters that may stand for a longer identifier."""

MOST_CANDIDATES = 8

_KINDS: dict[str, Callable[[Catalog, str], dict[str, Any]]] = {
    "zoo": describe_zoo,
    "run": describe_run,
    "shard": describe_shard,
    "architecture": describe_architecture,
}

_EXACT = """
SELECT DISTINCT 'zoo' AS kind, zoo AS id FROM runs WHERE zoo = :id
UNION ALL SELECT 'run', run_id FROM runs WHERE run_id = :id
UNION ALL SELECT 'shard', shard FROM shards WHERE shard = :id
UNION ALL SELECT DISTINCT 'architecture', arch_id FROM tensors WHERE arch_id = :id"""

_STARTS = """
FROM (SELECT 'run' AS kind, run_id AS id, zoo AS of FROM runs
    UNION ALL SELECT 'shard', shard, content FROM shards
    UNION ALL SELECT DISTINCT 'architecture', arch_id, '' FROM tensors)
WHERE starts_with(id, :id) ORDER BY kind, id LIMIT 9"""

_NAMES = """
SELECT DISTINCT zoo AS id FROM runs UNION SELECT arch_id FROM tensors
UNION SELECT shard FROM shards"""

_NEAR = """
SELECT run_id AS id FROM runs WHERE jaro_winkler_similarity(run_id, :id) > 0.8
ORDER BY jaro_winkler_similarity(run_id, :id) DESC, run_id LIMIT 3"""


def describe(catalog: Catalog, identifier: str) -> dict[str, Any]:
    """Return a document about a zoo, a run, a checkpoint, a shard or an architecture.

    Parameters
    ----------
    catalog : Catalog
        Catalogue to search.
    identifier : str
        Name of a zoo, run_id, ``RUN@STEP``, name of a shard, or arch_id. For all but
        zoos, the first characters (at least four) are enough if nothing else begins with
        them. ``KIND:NAME``, with the kind zoo, run, shard or architecture, selects one of
        several objects of the same name.

    Returns
    -------
    dict
        JSON values: ``kind``, ``id``, and one entry per section of the document.
        Distributions are a `Histogram`.

    Raises
    ------
    NotFound
        If nothing has the identifier, or several objects have it or begin with it.
    """
    exact = rows_of(catalog, _EXACT, id=identifier)
    kind, colon, name = identifier.partition(":")
    if colon and kind in _KINDS and not exact:
        exact = [r for r in rows_of(catalog, _EXACT, id=name) if r["kind"] == kind]
    run, at, step = identifier.rpartition("@")
    if at and run and not exact:
        matches = _prefix_matches(catalog, run, "run")
        if not matches:
            raise NotFound(
                f"Nothing is called {identifier!r}: no run is called {run!r} or begins "
                "with it. The checkpoints: phasezoo sql "
                '"SELECT zoo, run_id, step FROM models"'
            )
        kind, name = _only(matches, catalog, run)
        return describe_checkpoint(catalog, name, step)
    matches = exact or _prefix_matches(catalog, identifier)
    kind, name = _only(matches, catalog, identifier)
    return _KINDS[kind](catalog, name)


def _prefix_matches(catalog: Catalog, start: str, kind: str = "") -> Rows:
    """Objects whose identifier begins with a text; with a kind, exact matches first."""
    if len(start) < SHORTEST and not kind:
        return []
    if kind:
        exact = rows_of(catalog, _EXACT, id=start)
        matches = [row for row in exact if row["kind"] == kind]
        if matches or len(start) < SHORTEST:
            return matches
    matches = rows_of(catalog, _STARTS, id=start)
    return [row for row in matches if row["kind"] == (kind or row["kind"])]


def _only(matches: Rows, catalog: Catalog, identifier: str) -> tuple[str, str]:
    """Return kind and id of the only match; raise `NotFound` unless there is one."""
    if len(matches) == 1:
        return matches[0]["kind"], matches[0]["id"]
    if not matches:
        names = [row["id"] for row in rows_of(catalog, _NAMES)]
        nearest = [row["id"] for row in rows_of(catalog, _NEAR, id=identifier)]
        hint = f"Closest: {', '.join(nearest)}." if nearest else closest(identifier, names)
        raise NotFound(
            f"Nothing is called {identifier!r}: there is no such zoo, run, shard or "
            "architecture, and no run, shard or architecture begins with it (at least "
            f"{SHORTEST} characters). {hint}"
        )
    if {row["id"] for row in matches} == {identifier}:
        kinds = [row["kind"] for row in matches]
        raise NotFound(
            f"{identifier!r} is the name of a {', a '.join(kinds[:-1])} and a {kinds[-1]}. "
            f"Name the kind, e.g. phasezoo show {word(f'{kinds[0]}:{identifier}')}"
        )
    candidates = ", ".join(
        f"{row['id']} ({row['kind']}{' of ' + row['of'] if row.get('of') else ''})"
        for row in matches[:MOST_CANDIDATES]
    )
    more = ", ..." if len(matches) > MOST_CANDIDATES else ""
    raise NotFound(
        f"Several identifiers begin with {identifier!r}: {candidates}{more}. Give more "
        f"characters, e.g. phasezoo show {word(matches[0]['id'])}"
    )
