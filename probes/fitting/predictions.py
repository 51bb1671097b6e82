"""Storage of the predictions of a probe as measures of networks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from catalog.catalog import Catalog, arrow_table
from catalog.console.counting import counted
from catalog.dtypes import Array
from catalog.errors import CatalogError
from catalog.names import content_id
from catalog.quoting import identifier, literal
from catalog.rows import rows_of
from catalog.storage.json_column import json_object
from catalog.storage.metadata import metadata_source
from probes.fitting.request import recorded_flags


def prediction_columns(probe: str, name: str, labels: Sequence[str]) -> list[str]:
    """Return the columns that `write` fills: one for each label, and one for the split.

    Examples
    --------
    >>> prediction_columns("linear", "test_accuracy", ["test_accuracy"])
    ['linear_test_accuracy', 'linear_test_accuracy_split']
    """
    return [*(f"{probe}_{label}" for label in labels), f"{probe}_{name}_split"]


def prediction_table(
    table: pa.Table, columns: Sequence[str], predicted: Array, split: Sequence[str]
) -> pa.Table:
    """Build the table of measures from predictions.

    Parameters
    ----------
    table : pyarrow.Table
        n rows with ``run_id`` and ``step``.
    columns : sequence of str
        Names as returned by `prediction_columns`.
    predicted : ndarray of shape (n,) or (n, k)
        Predictions, with a column for each label.
    split : sequence of str
        Side of each row: "train" or "test" if it was part of the fit, "mixed" if it was
        selected but on neither side; otherwise "kin" if it is related to the training set,
        or "new".
    """
    values = predicted[:, None] if predicted.ndim == 1 else predicted
    fields: dict[str, Any] = {name: table[name] for name in ("run_id", "step")}
    for column, values_of_label in zip(columns[:-1], values.T, strict=True):
        kinds = {"f": pa.float64(), "b": pa.bool_(), "i": pa.int64(), "u": pa.int64()}
        kind = kinds.get(values_of_label.dtype.kind, pa.string())
        fields[column] = pa.array(values_of_label.tolist(), kind)
    fields[columns[-1]] = pa.array(list(split), pa.string())
    return pa.table(fields)


def write(
    catalog: Catalog,
    table: pa.Table,
    name: str,
    provenance: dict[str, Any],
    announce: Callable[[str], None],
) -> None:
    """Commit the measures, and announce the fits whose predictions were replaced.

    Nothing is committed to a remote catalogue, and that is announced.
    """
    if not catalog.writable:
        announce(not_committed(catalog))
        return
    columns = [column for column in table.column_names if column not in ("run_id", "step")]
    lines = StoredPredictions(catalog.refreshed(), columns).told(table, name, provenance)
    with catalog.writer() as writer:
        writer.commit_measures(table, name, provenance)
    for line in lines:
        announce(line)


def not_committed(catalog: Catalog) -> str:
    """Return the line about predictions that are not columns of `models`."""
    try:
        catalog.check_writable()
    except CatalogError as error:
        return f"The predictions are not committed. {error}"
    raise AssertionError("a catalogue that can be written keeps its predictions")


_RANKED = (
    "(SELECT m.*, r.pz_rank FROM {source} m JOIN (SELECT shard AS pz_shard, row_number() "
    "OVER (ORDER BY sequence, sha256) AS pz_rank FROM shards) r USING (pz_shard))"
)


def measure_id_of(name: str, provenance: Mapping[str, Any]) -> str:
    """Return the identifier of predictions; equal fits have equal identifiers."""
    return content_id([name, dict(provenance)], 16)


@dataclass(frozen=True)
class StoredPredictions:
    """Measures that fill some columns of `models`.

    Attributes
    ----------
    catalog : Catalog
        Catalogue whose measures are read.
    columns : sequence of str
        Names as returned by `prediction_columns`.
    """

    catalog: Catalog
    columns: Sequence[str]

    def written(self, measure_id: str) -> pa.Table | None:
        """Return what a measure wrote: ``run_id``, ``step`` and the columns.

        The result includes values that newer measures hide. It is None if the measure did
        not write all columns.
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
        complete = len(table) and not any(table[c].null_count for c in self.columns)
        return table if complete else None

    def others(self, table: pa.Table, measure_id: str) -> tuple[Counter[str], Counter[str]]:
        """Count the networks whose columns show other measures, by measure id.

        Parameters
        ----------
        table : pyarrow.Table
            Rows with ``run_id`` and ``step``.

        Returns
        -------
        here, elsewhere : Counter
            Counts among the rows of the table, and among all other networks.
        """
        keys = zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
        rows = set(keys)
        here, elsewhere = Counter[str](), Counter[str]()
        for run, step, shown in self._newest:
            if shown != measure_id:
                (here if (run, step) in rows else elsewhere)[shown] += 1
        return here, elsewhere

    def told(self, table: pa.Table, name: str, provenance: Mapping[str, Any]) -> list[str]:
        """Return lines on the predictions that a new table replaces or is mixed with."""
        here, elsewhere = self.others(table, measure_id_of(name, provenance))
        new_fit = _fit(provenance)
        lines = [
            f"Replaces {self._named(measure_id, new_fit)} for {counted(count, 'network')}."
            for measure_id, count in here.most_common()
        ]
        fit_id = measure_id_of(name, new_fit)
        foreign = [x for x in elsewhere.most_common() if self._fit_id(x[0]) != fit_id]
        if foreign:
            total = counted(sum(count for _, count in foreign), "other network")
            more = f"and {len(foreign) - 1} more " if len(foreign) > 1 else ""
            lines.append(
                f"{self.columns[0]} also shows {self._named(foreign[0][0], new_fit)} "
                f"{more}for {total}."
            )
        return lines

    @cached_property
    def _known(self) -> list[str]:
        """Columns that any measure has filled."""
        filled = {
            column.lower()
            for manifest in self.catalog.snapshot.manifests
            for column in manifest.measure_columns
        }
        return [column for column in self.columns if column.lower() in filled]

    @cached_property
    def _source(self) -> str | None:
        """SQL of the measures with any of the columns, ranked by commit."""
        columns = {column.lower() for column in self._known}
        shards = self.catalog.snapshot.shards
        holders = {
            manifest.pack or manifest.shard
            for manifest in self.catalog.snapshot.manifests
            if columns.intersection(column.lower() for column in manifest.measure_columns)
        }
        if not holders:
            return None
        manifests = [shards[shard] for shard in sorted(holders)]
        source = metadata_source(self.catalog.root, manifests, "measures", origin=True)
        return _RANKED.format(source=source)

    @cached_property
    def _newest(self) -> list[tuple[str, int, str]]:
        """Rows (run_id, step, measure_id) of the measures that the columns show."""
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

    def _named(self, measure_id: str, new_fit: Mapping[str, Any]) -> str:
        name, provenance = self._origins[measure_id]
        if "probe" not in provenance:
            return f"the values of {name!r}"
        old_fit = _fit(provenance)
        by = "by apply " if "applied" in provenance else ""
        if old_fit == new_fit:
            return f"the predictions {by}of this fit"
        short = self._fit_id(measure_id)[:8]  # as in the name of the file of the fit
        differences = ", ".join(_differences(old_fit, new_fit))
        return f"the predictions {by}of the fit {short} ({differences})"


def _fit(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance of the fit, without the networks it was applied to."""
    return {key: value for key, value in provenance.items() if key != "applied"}


def _differences(old_fit: Mapping[str, Any], new_fit: Mapping[str, Any]) -> list[str]:
    """List the options of one fit that differ in another, as on the command line."""
    options = []
    for key, flag in recorded_flags().items():
        if (value := old_fit.get(key)) != new_fit.get(key):
            text = json.dumps(value) if isinstance(value, dict) else value
            options.append(f"no {flag}" if value is None else f"{flag} {text}")
    params = old_fit.get("params", {}), new_fit.get("params", {})
    options += [f"{k}={v}" for k, v in params[0].items() if params[1].get(k) != v]
    if old_fit.get("choose_layer") and not new_fit.get("choose_layer"):
        options.append("--layer auto")
    return options or ["other networks, targets or version"]
