"""Fetch a published catalogue, query it, and fit two probes; needs `phasezoo[probes]` only.

Example: python docs/fetch_and_probe.py https://HOST/FOLDER copy

Torch is not needed: the weights are in Parquet files, and these probes are exact.
"""

from __future__ import annotations

import argparse

import catalog
from catalog.console.outlet import note, say
from catalog.quoting import literal
from probes.fitting.fit import fit_probe

QUERY = """
    SELECT zoo, count(DISTINCT run_id), count(*),
        round(avg(test_accuracy) FILTER (step = steps), 3)
    FROM models GROUP BY zoo ORDER BY zoo
"""
ONE_LAYOUT = """
    SELECT zoo, arch_id FROM models WHERE test_accuracy IS NOT NULL AND row IS NOT NULL
    GROUP BY ALL ORDER BY count(*) DESC, zoo, arch_id LIMIT 1
"""


def main() -> None:
    """Fetch, query, and probe the most frequent layout."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("source", help="folder, https://, hf:// or s3:// address")
    parser.add_argument("folder", help="local catalogue, made if it is not there")
    options = parser.parse_args()
    store = catalog.fetch(options.source, options.folder)
    for zoo, networks, checkpoints, accuracy in store.sql(QUERY).fetchall():
        say(
            f"{zoo}: {networks} networks, {checkpoints} checkpoints, mean test accuracy "
            f"{accuracy}"
        )
    (layout,) = store.sql(ONE_LAYOUT).fetchall()
    zoo, arch_id = map(literal, layout)
    where = f"zoo = {zoo} AND arch_id = {arch_id}"
    for probe in ("statistics", "linear"):
        fitted = fit_probe(
            store, probe, ["test_accuracy"], where=where, steps="all", deal=5, announce=note
        )
        score = fitted["estimates"][0]
        say(
            f"{probe}: {score['score']} {score['value']:.3f} ({score['low']:.3f} to "
            f"{score['high']:.3f}), trivial {score['baseline']:.3f}"
        )


if __name__ == "__main__":
    main()
