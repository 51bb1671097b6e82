"""From what was typed to the one thing that it names."""

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
"""Characters that may stand for a longer identifier."""

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
    """A document about a zoo, a run, a checkpoint, a shard or an architecture.

    Parameters
    ----------
    identifier : str
        A zoo's name, a run_id, ``RUN@STEP``, a shard's name or an arch_id. At least
        four first characters will do for all but zoos, if nothing else begins so.
        ``KIND:NAME``, with one of the kinds zoo, run, shard and architecture, tells
        apart what has one name.

    Returns
    -------
    dict
        JSON values: ``kind``, ``id``, and a section each; `Histogram` for
        distributions.

    Raises
    ------
    NotFound
        If nothing has the identifier, or several things begin with it.
    """
    exact = rows_of(catalog, _EXACT, id=identifier)
    kind, colon, name = identifier.partition(":")
    if colon and kind in _KINDS and not exact:
        exact = [r for r in rows_of(catalog, _EXACT, id=name) if r["kind"] == kind]
    run, at, step = identifier.rpartition("@")
    if at and run and not exact:
        kind, name = _only(_starting(catalog, run, "run"), catalog, run)
        return describe_checkpoint(catalog, name, step)
    kind, name = _only(exact or _starting(catalog, identifier), catalog, identifier)
    return _KINDS[kind](catalog, name)


def _starting(catalog: Catalog, start: str, kind: str = "") -> Rows:
    if len(start) < SHORTEST and not kind:
        return []
    if kind:
        exact = rows_of(catalog, _EXACT, id=start)
        found = [row for row in exact if row["kind"] == kind]
        if found or len(start) < SHORTEST:
            return found
    found = rows_of(catalog, _STARTS, id=start)
    return [row for row in found if row["kind"] == (kind or row["kind"])]


def _only(found: Rows, catalog: Catalog, identifier: str) -> tuple[str, str]:
    if len(found) == 1:
        return found[0]["kind"], found[0]["id"]
    if not found:
        names = [row["id"] for row in rows_of(catalog, _NAMES)]
        near = [row["id"] for row in rows_of(catalog, _NEAR, id=identifier)]
        hint = f"Closest: {', '.join(near)}." if near else closest(identifier, names)
        raise NotFound(
            f"Nothing is called {identifier!r}: no zoo, run, shard or architecture, and "
            f"no start of one (at least {SHORTEST} characters). {hint}"
        )
    if {row["id"] for row in found} == {identifier}:
        kinds = [row["kind"] for row in found]
        raise NotFound(
            f"{identifier!r} is the name of a {', a '.join(kinds[:-1])} and a {kinds[-1]}. "
            f"Say which, e.g. phasezoo show {word(f'{kinds[0]}:{identifier}')}"
        )
    listed = ", ".join(
        f"{row['id']} ({row['kind']}{' of ' + row['of'] if row.get('of') else ''})"
        for row in found[:MOST_CANDIDATES]
    )
    more = ", ..." if len(found) > MOST_CANDIDATES else ""
    raise NotFound(
        f"Several things begin with {identifier!r}: {listed}{more}. Give more characters, "
        f"e.g. phasezoo show {word(found[0]['id'])}"
    )
