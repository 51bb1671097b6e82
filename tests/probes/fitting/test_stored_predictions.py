"""Whose predictions columns show, whatever columns and measures are called."""

import pyarrow as pa

import catalog
from catalog.names import content_id
from probes.fitting.predictions import StoredPredictions

COLUMN = "q\"u'o'te; DROP TABLE runs; -- :x {0} $y$"


def test_columns_with_quotes_are_read_as_they_are_called(tmp_path):
    zoo = catalog.open(tmp_path / "it's a [zoo] :x", create=True)
    ids = ["a", "b"]
    runs = pa.table({"run_id": ids, "zoo": ["z"] * 2, "source": ["trained"] * 2})
    keys = pa.table({"run_id": ids, "step": [0, 0]})
    measured = keys.append_column(COLUMN, pa.array([1.5, 2.5]))
    with zoo.writer() as writer:
        writer.commit(runs, keys)
        writer.commit_measures(measured, "m' OR true; --", {COLUMN: 1})
    shown = StoredPredictions(zoo.refreshed(), [COLUMN])
    own = content_id(["m' OR true; --", {COLUMN: 1}], 16)
    assert shown.written(own)[COLUMN].to_pylist() == [1.5, 2.5]
    assert shown.written("x' OR true; --") is None
    here, elsewhere = shown.others(keys.slice(0, 1), "another")
    assert (here[own], elsewhere[own]) == (1, 1)
    assert shown.told(keys, "linear", {"probe": "linear"})
