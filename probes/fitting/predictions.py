"""What a probe says about stored networks, as measures of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from catalog.catalog import Catalog, arrow_table
from catalog.dtypes import Array
from catalog.names import content_id
from catalog.quoting import identifier, literal
from catalog.rows import rows_of
from catalog.storage.json_column import json_object
from catalog.storage.metadata import metadata_source


def prediction_columns(probe: str, name: str, labels: Sequence[str]) -> list[str]:
    """Columns that `write` fills: one for each label, and one for the split.

    Examples
    --------
    >>> prediction_columns("linear", "test_accuracy", ["test_accuracy"])
    ['linear_test_accuracy', 'linear_test_accuracy_split']
    """
    return [*(f"{probe}_{label}" for label in labels), f"{probe}_{name}_split"]


def prediction_table(
    table: pa.Table, columns: Sequence[str], predicted: Array, split: Sequence[str]
) -> pa.Table:
    """Rows of measures.

    Parameters
    ----------
    table : pyarrow.Table
        n rows with ``run_id`` and ``step``.
    columns : sequence of str
        As `prediction_columns` names them.
    predicted : ndarray of shape (n,) or (n, k)
    split : sequence of str
        Of each row: "train" or "test" when the probe was fitted, "mixed" if it was
        neither; if it was not there "kin" of what was learnt from, or "new".
    """
    values = predicted[:, None] if predicted.ndim == 1 else predicted
    fields: dict[str, Any] = {name: table[name] for name in ("run_id", "step")}
    for column, own in zip(columns[:-1], values.T, strict=True):
        kinds = {"f": pa.float64(), "b": pa.bool_(), "i": pa.int64(), "u": pa.int64()}
        kind = kinds.get(own.dtype.kind, pa.string())
        fields[column] = pa.array(own.tolist(), kind)
    fields[columns[-1]] = pa.array(list(split), pa.string())
    return pa.table(fields)


def write(
    catalog: Catalog,
    table: pa.Table,
    name: str,
    provenance: dict[str, Any],
    announce: Callable[[str], None],
) -> None:
    """Commit the measures, and tell whose predictions are in the columns no longer."""
    columns = [column for column in table.column_names if column not in ("run_id", "step")]
    lines = StoredPredictions(catalog.refreshed(), columns).told(table, name, provenance)
    with catalog.writer() as writer:
        writer.commit_measures(table, name, provenance)
    for line in lines:
        announce(line)


_RANKED = (
    "(SELECT m.*, r.pz_rank FROM {source} m JOIN (SELECT shard AS pz_shard, row_number() "
    "OVER (ORDER BY sequence, sha256) AS pz_rank FROM shards) r USING (pz_shard))"
)
_OPTIONS = {
    "targets": "target", "where": "where", "steps": "steps", "by": "by", "folds": "folds",
    "seeds": "seeds", "relative": "relative",
}  # fmt: skip
"""Parts of the provenance of a fit that are options of the command."""


def measure_id_of(name: str, provenance: Mapping[str, Any]) -> str:
    """Identity of the predictions of a probe: equal fits have equal ones."""
    return content_id([name, dict(provenance)], 16)


@dataclass(frozen=True)
class StoredPredictions:
    """Measures that fill some columns of `models`.

    Attributes
    ----------
    catalog : Catalog
    columns : sequence of str
        As `probes.fitting.predictions.prediction_columns` names them.
    """

    catalog: Catalog
    columns: Sequence[str]

    def written(self, measure_id: str) -> pa.Table | None:
        """What a measure wrote, shown or not: ``run_id``, ``step`` and the columns.

        None if it did not write all of them.
        """
        if self._source is None or len(self._known) < len(self.columns):
            return None
        values = ", ".join(
            f"arg_max({c}, pz_rank) AS {c}" for c in map(identifier, self.columns)
        )
        query = (
            f"SELECT run_id, step, {values} FROM {self._source} WHERE measure_id = "
            f"{literal(measure_id)} GROUP BY run_id, step ORDER BY run_id, step"
        )
        table = arrow_table(self.catalog.sql(query))
        whole = len(table) and not any(table[c].null_count for c in self.columns)
        return table if whole else None

    def others(self, table: pa.Table, measure_id: str) -> tuple[Counter[str], Counter[str]]:
        """Networks of which the columns show other measures, by their identity.

        Parameters
        ----------
        table : pyarrow.Table
            With ``run_id`` and ``step``.

        Returns
        -------
        here, elsewhere : Counter
            Among the rows of the table, and among all others.
        """
        keys = zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
        asked = set(keys)
        here, elsewhere = Counter[str](), Counter[str]()
        for run, step, shown in self._newest:
            if shown != measure_id:
                (here if (run, step) in asked else elsewhere)[shown] += 1
        return here, elsewhere

    def told(self, table: pa.Table, name: str, provenance: Mapping[str, Any]) -> list[str]:
        """Lines on whose predictions a table of new ones replaces, and is mixed with."""
        here, elsewhere = self.others(table, measure_id_of(name, provenance))
        own = _fit(provenance)
        lines = [
            f"Replaces, of {count:,} networks, {self._named(one, own)}."
            for one, count in here.most_common()
        ]
        fit_id = measure_id_of(name, own)
        strange = [x for x in elsewhere.most_common() if self._fit_id(x[0]) != fit_id]
        if strange:
            total, more = sum(count for _, count in strange), len(strange) - 1
            lines.append(
                f"{self.columns[0]} also shows, of {total:,} other networks, "
                f"{self._named(strange[0][0], own)}{f', and {more} more' if more else ''}."
            )
        return lines

    @cached_property
    def _known(self) -> list[str]:
        """Those of the columns that anything has filled."""
        filled = {
            column.lower()
            for manifest in self.catalog.snapshot.manifests
            for column in manifest.measure_columns
        }
        return [column for column in self.columns if column.lower() in filled]

    @cached_property
    def _source(self) -> str | None:
        """SQL for the measures with any of the columns, ranked by commit."""
        wanted = {column.lower() for column in self._known}
        shards = self.catalog.snapshot.shards
        holders = {
            manifest.pack or manifest.shard
            for manifest in self.catalog.snapshot.manifests
            if wanted.intersection(column.lower() for column in manifest.measure_columns)
        }
        if not holders:
            return None
        manifests = [shards[shard] for shard in sorted(holders)]
        source = metadata_source(self.catalog.root, manifests, "measures", origin=True)
        return _RANKED.format(source=source)

    @cached_property
    def _newest(self) -> list[tuple[str, int, str]]:
        """(run_id, step, measure_id) for what the columns of each network come from."""
        if self._source is None:
            return []
        names = list(map(identifier, self._known))
        filled = ", ".join(f"{name} IS NOT NULL AS {name}" for name in names)
        query = f"""
            SELECT DISTINCT run_id, step, measure_id FROM (
                SELECT run_id, step, pz_column, arg_max(measure_id, pz_rank) AS measure_id
                FROM (SELECT run_id, step, measure_id, pz_rank, {filled}
                    FROM {self._source})
                UNPIVOT (pz_filled FOR pz_column IN ({", ".join(names)}))
                WHERE pz_filled GROUP BY run_id, step, pz_column
            ) SEMI JOIN models USING (run_id, step) ORDER BY ALL"""
        return self.catalog.sql(query).fetchall()

    @cached_property
    def _origins(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Name and provenance of measures."""
        query = f"SELECT DISTINCT measure_id, measure, provenance FROM {self._source}"
        return {
            row["measure_id"]: (
                row["measure"],
                json_object(row["provenance"], f"The provenance of {row['measure']!r}"),
            )
            for row in rows_of(self.catalog, query)
        }

    def _fit_id(self, measure_id: str) -> str:
        name, provenance = self._origins[measure_id]
        return measure_id_of(name, _fit(provenance))

    def _named(self, measure_id: str, own: Mapping[str, Any]) -> str:
        name, provenance = self._origins[measure_id]
        if "probe" not in provenance:
            return f"the values of {name!r}"
        theirs = _fit(provenance)
        applied = (
            "what apply said with" if "applied" in provenance else "the predictions of"
        )
        if theirs == own:
            return f"{applied} this fit"
        fit = f"the fit {self._fit_id(measure_id)[:8]}"  # its file is called so
        return f"{applied} {fit} ({', '.join(_differences(theirs, own))})"


def _fit(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance of the fit behind predictions, whatever it was applied to."""
    return {key: value for key, value in provenance.items() if key != "applied"}


def _differences(theirs: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """What one fit has that another has not, as options of the command."""
    found = []
    for key, option in _OPTIONS.items():
        if (value := theirs.get(key)) != own.get(key):
            text = json.dumps(value) if isinstance(value, dict) else value
            found.append(f"no --{option}" if value is None else f"--{option} {text}")
    params = theirs.get("params", {}), own.get("params", {})
    found += [f"{k}={v}" for k, v in params[0].items() if params[1].get(k) != v]
    if theirs.get("choose_layer") and not own.get("choose_layer"):
        found.append("--layer auto")
    return found or ["of other networks, targets or another version"]
