"""`models` has the documented measures, whether or not anything was labelled."""

from typing import Any

import pyarrow as pa
import pytest

from catalog import Catalog
from catalog.index import cache, extend, in_place, tables
from catalog.schema import CHECKPOINTS, MEASURES, RUNS
from catalog.show.dictionary import all_columns

NAMES = [column.name for column in MEASURES]
TYPES = ["VARCHAR" if column.type == pa.string() else "DOUBLE" for column in MEASURES]
QUERY = "SELECT phase, count(*), avg(test_accuracy) FROM models GROUP BY 1 ORDER BY 1"


@pytest.fixture(params=["stored", "in place"])
def any_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The index keeps the rows, or reads them where they are, as in a large catalogue."""
    if request.param == "in place":
        monkeypatch.setattr(in_place, "STORED_CHECKPOINTS", 0)
    return request.param


def described(zoo: Catalog) -> dict[str, str]:
    return {row[0]: row[1] for row in zoo.sql("DESCRIBE models").fetchall()}


def rebuilt(zoo: Catalog) -> list[Any]:
    """What an index built from nothing describes and holds."""
    zoo = zoo.refreshed()
    for path in zoo._folder.cache.glob("*"):
        path.unlink()
    return [described(zoo), zoo.sql("FROM models ORDER BY run_id").fetchall()]


def same_as_rebuilt(zoo: Catalog) -> bool:
    zoo = zoo.refreshed()
    ours = [described(zoo), zoo.sql("FROM models ORDER BY run_id").fetchall()]
    return ours == rebuilt(zoo)


def test_the_query_works_in_any_catalogue(
    any_size: str, new_zoo: Any, metrics: Any
) -> None:
    zoo = new_zoo()
    assert zoo.sql(QUERY).fetchall() == []
    metrics(zoo, "a", "b")
    zoo = zoo.refreshed()
    assert zoo.sql(QUERY).fetchall() == [(None, 2, None)]
    assert [described(zoo)[name] for name in NAMES] == TYPES


def test_a_label_fills_its_column_in_its_place(
    any_size: str, new_zoo: Any, metrics: Any, measure: Any
) -> None:
    zoo = new_zoo()
    metrics(zoo, "a", "b")
    before = list(described(zoo.refreshed()))
    measure(zoo, [{"run_id": "a", "step": 0, "other": 1.5, "phase": "IV-B"}])
    after = list(described(zoo.refreshed()))
    assert after == [*before, "other"]
    assert zoo.refreshed().sql(QUERY).fetchall() == [("IV-B", 1, None), (None, 1, None)]
    assert same_as_rebuilt(zoo)
    measure(zoo, [{"run_id": "b", "step": 0, "phase": "I", "phase_distance": -0.5}])
    metrics(zoo, "c")
    assert zoo.refreshed().sql(QUERY).fetchall() == [
        ("I", 1, None),
        ("IV-B", 1, None),
        (None, 1, None),
    ]
    assert same_as_rebuilt(zoo)


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("where", ["runs", "checkpoints"])
def test_a_zoos_own_column_of_that_name_stays_what_it_is(
    any_size: str, new_zoo: Any, metrics: Any, measure: Any, runs_of: Any, where: str,
    labelled: bool,
) -> None:  # fmt: skip
    zoo = new_zoo()
    metrics(zoo, "a")
    described(zoo.refreshed())
    if labelled:
        measure(zoo, [{"run_id": "a", "step": 0, "phase_distance": 2.0}])
        described(zoo.refreshed())
    own = {"phase": ["early"]} if where == "runs" else {}
    point = {"phase": ["early"]} if where == "checkpoints" else {}
    with zoo.writer() as writer:
        point = pa.table({"run_id": ["b"], "step": [0], **point})
        writer.commit(runs_of(["b"], **own), point)
    assert zoo.refreshed().sql(QUERY).fetchall() == [("early", 1, None), (None, 1, None)]
    assert list(described(zoo.refreshed())).count("phase") == 1
    assert same_as_rebuilt(zoo)


def test_another_spelling_or_type_of_a_documented_measure_is_kept(
    any_size: str, new_zoo: Any, metrics: Any, measure: Any
) -> None:
    zoo = new_zoo()
    metrics(zoo, "a")
    described(zoo.refreshed())
    measure(zoo, [{"run_id": "a", "step": 0, "Phase": 3}])
    assert zoo.refreshed().sql("SELECT phase FROM models").fetchall() == [(3,)]
    assert same_as_rebuilt(zoo)


def test_an_index_that_has_labels_is_extended_by_more_of_them(
    new_zoo: Any, metrics: Any, measure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def build(connection: Any, root: Any, manifests: Any, **how: Any) -> None:
        built.append(len(manifests))
        tables.build_index(connection, root, manifests, **how)

    for module in (cache, extend):
        monkeypatch.setattr(module, "build_index", build)
    zoo = new_zoo()
    metrics(zoo, "a")
    described(zoo.refreshed())
    measure(zoo, [{"run_id": "a", "step": 0, "phase": "I", "phase_stability": 1.0}])
    described(zoo.refreshed())
    assert built == [1, 0]  # the first label brings no new column


def test_the_schema_documents_them_once(new_zoo: Any, metrics: Any) -> None:
    zoo = new_zoo()
    metrics(zoo, "a")
    for found in (all_columns(None), all_columns(zoo.refreshed())):
        rows = {row["column"]: row for row in found if row["column"] in NAMES}
        assert list(rows) == NAMES
        assert [row["column"] for row in found if row["column"] in NAMES] == NAMES
        for column in MEASURES:
            row = rows[column.name]
            assert (row["view"], row["type"]) == ("models", str(column.type))
            assert (row["unit"], row["meaning"]) == (column.unit, column.meaning)


def test_no_documented_measure_has_the_name_of_another_column() -> None:
    others = {column.name for column in (*RUNS, *CHECKPOINTS)}
    assert len(set(NAMES)) == len(NAMES)
    assert not others & set(NAMES)
    assert all(c.unit and c.meaning for c in MEASURES)


def test_a_label_that_was_taken_back_is_null_in_models(
    any_size: str, new_zoo: Any, metrics: Any, measure: Any
) -> None:
    """NaN replaces a number, but SQL takes it for greater than every one."""
    zoo = new_zoo()
    metrics(zoo, "a", "b")
    nan = float("nan")
    high = "SELECT run_id FROM models WHERE phase_confidence > 0.5 ORDER BY 1"
    rows = [{"run_id": run, "step": 0, "phase_confidence": 0.9} for run in ("a", "b")]
    measure(zoo, rows)
    assert zoo.refreshed().sql(high).fetchall() == [("a",), ("b",)]
    measure(zoo, [{"run_id": "a", "step": 0, "phase_confidence": nan, "other": nan}])
    assert zoo.refreshed().sql(high).fetchall() == [("b",)]
    shown = "SELECT phase_confidence, isnan(other) FROM models WHERE run_id = 'a'"
    assert zoo.refreshed().sql(shown).fetchall() == [(None, True)]
    assert rebuilt(zoo)
    assert zoo.refreshed().sql(shown).fetchall() == [(None, True)]
    measure(zoo, [{"run_id": "a", "step": 0, "phase_confidence": 0.7}])
    assert zoo.refreshed().sql(high).fetchall() == [("a",), ("b",)]
