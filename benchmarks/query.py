"""SQL over a million checkpoints.

Claim: filters and group-bys on `models` take at most 1.5 times as long as on one flat
Parquet file, although the catalogue is 1,300 shards with three generations of measures.

Compared with DuckDB on ``flat.parquet``: all columns of `models` in one zstd file in
the natural order, written by DuckDB. It is what a careful user would make by hand, once
every result is in; the catalogue stays as fast while results keep coming. For
information also with ``database``: the same rows in a DuckDB file of their own.

Fair because all answer the same SQL through the same DuckDB with the same settings, in
one process, from open connections and a warm page cache; answers must be equal. The
catalogue is made by the public `Writer`.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import synthetic
from timing import alternate, digits, milliseconds, progress, report, sizes

import catalog
from catalog.quoting import literal

QUERIES = {
    "phase_diagram": """
        SELECT load, temperature, count(*), avg(test_accuracy), stddev(test_accuracy)
        FROM models WHERE step = 1900 GROUP BY ALL ORDER BY ALL""",
    "zoo_summary": """
        SELECT zoo, status, count(*), avg(test_accuracy), max(test_accuracy)
        FROM models GROUP BY ALL ORDER BY ALL""",
    "measure_by_cell": """
        SELECT zoo, cell, avg(hessian_top), avg(connectivity), count(cka)
        FROM models WHERE finite AND test_accuracy > 0.5 GROUP BY ALL ORDER BY ALL""",
    "sharp_and_good": """
        SELECT width, count(*) FROM models
        WHERE test_accuracy > 0.9 AND sharpness > 1 AND phase_score < 0
        GROUP BY width ORDER BY width""",
    "learning_curve": """
        SELECT step, median(train_loss), median(test_loss)
        FROM models WHERE task_name = 'mnist' GROUP BY step ORDER BY step""",
    "correlation": """
        SELECT task_name, corr(hessian_trace, train_accuracy - test_accuracy)
        FROM models WHERE label_noise > 0 GROUP BY ALL ORDER BY ALL""",
    "best_hundred": """
        SELECT run_id, step, test_accuracy FROM models
        WHERE width >= 64 ORDER BY test_accuracy DESC, run_id, step LIMIT 100""",
    "one_run": f"""
        SELECT * FROM models WHERE run_id = {literal(synthetic.run_id(7))} ORDER BY step""",
}


def main() -> None:
    options = sizes(__doc__, checkpoints=(1_000_000, 10_000), rounds=(15, 2))
    with tempfile.TemporaryDirectory() as folder:
        root, flat = Path(folder) / "zoo", Path(folder) / "flat.parquet"
        synthetic.metrics_catalog(root, options.checkpoints, rows_per_shard=1000)
        zoo = catalog.open(root)
        others = by_hand(zoo, flat)
        queries = measure(zoo, others, options.rounds)
        shards = len(zoo.snapshot.shards)
    ratios = [query["times_flat"] for query in queries.values()]
    report(
        "query",
        checkpoints=options.checkpoints,
        shards=shards,
        queries=queries,
        median_times_flat=digits(statistics.median(ratios)),
        worst_times_flat=max(ratios),
        bars={"times_flat": 1.5},
        stretch={"times_flat": 1.1},
    )


def by_hand(zoo: catalog.Catalog, path: Path) -> dict[str, duckdb.DuckDBPyConnection]:
    """Connections on which the flat file and the database are called models."""
    models = zoo.sql("SELECT * FROM models").to_arrow_table()
    flat = duckdb.connect()
    flat.from_arrow(models).write_parquet(str(path), compression="zstd")
    flat.execute(f"CREATE VIEW models AS FROM read_parquet({literal(str(path))})")
    database = duckdb.connect(path.with_suffix(".duckdb"))
    database.execute(f"CREATE TABLE models AS FROM read_parquet({literal(str(path))})")
    progress("flat file and database written")
    return {"flat": flat, "database": database}


def measure(
    zoo: catalog.Catalog, others: dict[str, duckdb.DuckDBPyConnection], rounds: int
) -> dict[str, Any]:
    results = {}
    for name, query in QUERIES.items():
        ask = {"catalogue": partial(answer, zoo, query)}
        ask |= {key: partial(answer, other, query) for key, other in others.items()}
        if not all(same(ask["catalogue"](), other()) for other in ask.values()):
            raise AssertionError(f"{name}: the answers differ")
        progress(name)
        medians = alternate(ask, rounds, rehearse=True)
        ours = medians["catalogue"]
        results[name] = {"ms": milliseconds(medians)}
        results[name] |= {f"times_{k}": digits(ours / medians[k]) for k in others}
    return results


def answer(source: Any, query: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = source.sql(query).fetchall()
    return rows


def same(rows: list[tuple[Any, ...]], others: list[tuple[Any, ...]]) -> bool:
    """Equal but for the rounding of sums, whose order is free."""

    def close(a: Any, b: Any) -> bool:
        both = isinstance(a, float) and isinstance(b, float)
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) if both else a == b

    return len(rows) == len(others) and all(
        all(map(close, row, other)) for row, other in zip(rows, others, strict=True)
    )


if __name__ == "__main__":
    main()
