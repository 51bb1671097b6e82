"""Write the zoos of a release, and the scores of its probe tasks, into docs/zoos.md.

Example: python docs/zoos_page.py DEST --copy FOLDER --page docs/zoos.md

DEST is fetched into FOLDER, so that what is scored is what others can download; probes and
predictions stay in FOLDER. Fits are stored there: an interrupted call goes on where it
stopped. The text between the two marks of the page is replaced.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from probe_tasks import PROBE_TASKS, ProbeTask, command

import catalog
from catalog import Catalog
from catalog.console.outlet import note
from catalog.errors import CatalogError
from catalog.names import content_id
from catalog.quoting import literal
from catalog.remote.cite import cite_remote
from catalog.remote.fetch import Fetch
from catalog.storage.whole_file import whole_file
from probes.fitting.fit import fit
from zoo.phases.rule import PHASES
from zoo.recipes import RECIPES

MARKS = ("<!-- written by docs/zoos_page.py -->\n", "<!-- end -->\n")
"""Lines before and after the text that is written."""


def main() -> None:
    """Fetch a release, fit the probes, write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("release", metavar="DEST")
    parser.add_argument("--copy", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--page", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    before, after = around(options.page)
    Fetch(options.release, options.copy).run()
    store = catalog.open(options.copy)
    text = "\n".join(lines(store, options.release)) + "\n"
    with whole_file(options.page) as file:
        file.write((before + MARKS[0] + text + MARKS[1] + after).encode())


def around(page: Path) -> tuple[str, str]:
    """Return the text before and after the part of a page that is written.

    Raises
    ------
    CatalogError
        If the page does not have each of `MARKS` once, in this order.
    """
    text = page.read_text(encoding="utf-8")
    before, start, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not start or not end or MARKS[0] in rest or MARKS[1] in after:
        raise CatalogError(
            f"{page} must have the lines {MARKS[0].strip()} and {MARKS[1].strip()} once "
            "each: what is between them is replaced."
        )
    return before, after


def lines(store: Catalog, release: str) -> Iterator[str]:
    """Yield the lines of the page: the version, its zoos, and the scores of probes."""
    citation = cite_remote(release)
    rows = {zoo: row for zoo in RECIPES if (row := zoo_row(store, zoo))}
    yield f"Version {citation.version} of the release, content `{citation.id}`."
    yield ""
    yield from table(list(rows.values()))
    for task in PROBE_TASKS:
        if task.zoo in rows:
            yield ""
            yield from task_lines(store, task)


def zoo_row(store: Catalog, zoo: str) -> dict[str, str] | None:
    """Return the row of a zoo in the table of zoos; None if it has no networks."""
    (counts,) = store.sql(f"""
        SELECT count(DISTINCT run_id), count(*), min(parameters), max(parameters)
        FROM models WHERE zoo = {literal(zoo)} AND row IS NOT NULL
    """).fetchall()
    networks, checkpoints, least, most = counts
    if not networks:
        return None
    files = store.sql(f"""
        SELECT sha256, bytes FROM shards WHERE content = 'weights' AND shard IN
        (SELECT shard FROM models WHERE zoo = {literal(zoo)}) ORDER BY sha256
    """).fetchall()
    recipe = RECIPES[zoo].networks
    return {
        "zoo": f"`{zoo}`",
        "id": f"`{content_id([digest for digest, _ in files], 16)}`",
        "networks": f"{networks:,}" + (f" of {recipe:,}" if networks < recipe else ""),
        "checkpoints": f"{checkpoints:,}",
        "parameters": f"{least:,}" + (f" to {most:,}" if most > least else ""),
        "bytes of weights": f"{sum(size for _, size in files):,}",
        "phases of the last checkpoints": phases(store, zoo),
    }


def phases(store: Catalog, zoo: str) -> str:
    """Return how many of the last checkpoints of a zoo are in each phase."""
    if "phase" not in store.sql("FROM models").columns:
        return "-"
    counted = store.sql(f"""
        SELECT phase, count(*) FROM models WHERE zoo = {literal(zoo)} AND step = steps
        AND phase IN ({", ".join(map(literal, PHASES))}) GROUP BY phase ORDER BY phase
    """).fetchall()
    return ", ".join(f"{phase}: {count}" for phase, count in counted) or "-"


def task_lines(store: Catalog, task: ProbeTask) -> Iterator[str]:
    """Yield the section of a probe task: its commands, and a table of scores."""
    yield f"### `{task.zoo}`: {task.question}"
    yield ""
    results = []
    for probe in task.probes:
        note(f"{task.zoo}, {task.question}: {probe}")
        results.append(fit(store, task.request(probe), note))
    for probe in task.probes:
        yield f"    {command(task.request(probe))}"
    yield ""
    yield division(results[0])
    yield ""
    yield from table([score_row(result) for result in results])


def division(result: Mapping[str, Any]) -> str:
    """Return the sentence about who is learnt from and who is scored."""
    judged = (
        f"{result['judged_on']:,} checkpoints in {result['groups']:,} groups are scored"
    )
    if result["learnt_from"] is None:
        return f"{judged}, each by a fit without its fold."
    return f"{result['learnt_from']:,} checkpoints are learnt from, {judged}."


def score_row(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the row of a probe: every score with its interval, then the trivial one."""
    row = {"probe": f"`{result['probe']}`"}
    for estimate in result["estimates"]:
        value, low, high = (estimate[name] for name in ("value", "low", "high"))
        ends = f" ({low:.3f} to {high:.3f})" if math.isfinite(low) else ""
        row[estimate["score"]] = f"{value:.3f}{ends}"
        row[f"{estimate['score']}, trivial"] = f"{estimate['baseline']:.3f}"
    return row


def table(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield f"| {' | '.join(rows[0])} |"
    yield "|---" * len(rows[0]) + "|"
    for row in rows:
        yield f"| {' | '.join(row.values())} |"


if __name__ == "__main__":
    try:
        main()
    except CatalogError as error:
        sys.exit(f"Error: {error}")
