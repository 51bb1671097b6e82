"""Averages hold every tensor's mean, and know where they come from."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from catalog import Layout, LayoutMismatch, Param, Population, average
from catalog.alignment.average import MIXED

LAYOUT = Layout(
    (
        Param("weight", (3, 2), ("h", None)),
        Param("bias", (3,), ("h",)),
        Param("half", (2,), (), "float16"),
        Param("var", (3,), ("h",), role="buffer"),
        Param("batches", (), (), "int64", "counter"),
        Param("mask", (2,), (), "bool", "constant"),
    )
)


def population(n: int = 4, layout: Layout = LAYOUT, **columns: list[Any]) -> Population:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((n, layout.d)).astype(np.float16).astype(np.float32)
    table = {"run_id": [f"r{i}" for i in range(n)], "step": [10 * i for i in range(n)]}
    extra = {"batches": 100 - np.arange(n), "mask": np.ones((n, 2), bool)}
    extra = {name: v for name, v in extra.items() if name in layout}
    return Population(weights, layout, pa.table(table | columns), extra)


def test_every_tensor_is_the_mean_of_the_group() -> None:
    some = population()
    found = average(some, [[0, 1, 3], [2]])
    assert len(found) == 2
    for name in ("weight", "bias", "half", "var"):
        values = some.tensor(name).astype(np.float64)
        assert np.allclose(found.tensor(name)[0], values[[0, 1, 3]].mean(0), atol=1e-6)
        assert np.array_equal(found.tensor(name)[1], some.tensor(name)[2])
    assert found.extra["batches"].tolist() == [100, 98]
    assert found.extra["mask"].all()
    assert found.layout["half"].dtype == "float32"
    assert found.state_dict(0)["half"].dtype == np.float32


def test_weights_count() -> None:
    some = population()
    found = average(some, [[0, 1], [1, 2]], weights=[[0.25, 0.75], [0, 1]])
    expected = 0.25 * some.weights[0] + 0.75 * some.weights[1]
    assert np.allclose(found.weights[0], expected, atol=1e-6)
    assert np.array_equal(found.weights[1], some.weights[2])


def test_the_same_parents_in_another_order_of_units_are_another_average() -> None:
    some = population()
    moved = replace(some, weights=some.weights[:, ::-1].copy())
    one, other = (average(p, [[0, 1]])["run_id"][0] for p in (some, moved))
    assert one == average(some, [[0, 1]])["run_id"][0] != other


def test_an_average_names_its_parents_and_inherits_what_they_share() -> None:
    some = population(
        zoo=["z"] * 4,
        cell=["c", "c", "d", "d"],
        split_by_run=["train", "test", "test", "test"],
        split_by_cell=["train", "train", "test", "test"],
        test_accuracy=[0.5] * 4,
        code_version=["1"] * 4,
    )
    found = average(some, [[0, 1], [2, 3]])
    assert found["step"].tolist() == [10, 30]
    assert found["source"].tolist() == ["derived"] * 2
    assert found.table["parents"].to_pylist()[0] == [
        {"run_id": "r0", "step": 0, "role": "average"},
        {"run_id": "r1", "step": 10, "role": "average"},
    ]
    assert found["zoo"].tolist() == ["z_averages", "z_averages"]
    assert found["cell"].tolist() == ["c", "d"]
    assert found["split_by_run"].tolist() == [MIXED, "test"]
    assert found["split_by_cell"].tolist() == ["train", "test"]
    assert not {"test_accuracy", "code_version"} & set(found.table.column_names)
    assert json.loads(found["config"][0])["weights"] == [0.5, 0.5]
    crossed = average(some, [[0, 2]]).table
    assert crossed["cell"].to_pylist() == [None]


def test_its_identity_is_that_of_its_parents_and_weights() -> None:
    some = population()
    names = average(some, [[0, 1], [0, 1], [1, 2]])["run_id"].tolist()
    again = average(some.select([1, 2]), [[0, 1]])["run_id"].tolist()
    other = average(some, [[0, 1]], weights=[[0.4, 0.6]])["run_id"].tolist()
    assert names[0] == names[1]
    assert names[2] == again[0]
    assert len({*names, *other}) == 3


def test_several_populations_are_counted_through() -> None:
    some = population()
    parts = [some.select([0, 1]), some.select([2, 3])]
    both, one = average(parts, [[0, 3]]), average(some, [[0, 3]])
    assert np.array_equal(both.weights, one.weights)
    assert both["run_id"].tolist() == one["run_id"].tolist()


def test_layouts_that_differ_are_answered_with_what_to_do() -> None:
    plain = Layout(LAYOUT.params[:2])
    wider = Layout((Param("weight", (4, 2), ("h", None)), Param("bias", (4,), ("h",))))
    bare = Layout(tuple(Param(p.name, p.shape) for p in plain))
    first = population(layout=plain)
    with pytest.raises(LayoutMismatch, match=r"\(4, 2\).*Average networks of one arch"):
        average([first, population(layout=wider)], [[0, 4]])
    message = (
        r"axes of 'weight' \(None, None\), expected \('h', None\).*layout=other.layout"
    )
    with pytest.raises(LayoutMismatch, match=message):
        average([first, population(layout=bare)], [[0, 4]])


@pytest.mark.parametrize(
    ("groups", "weights", "message"),
    [
        ([[0], [4]], None, r"Group 1 must hold .* each from 0 to 3\. Got \[4\]"),
        ([[-1]], None, r"Got \[-1\]"),
        ([[]], None, r"at least one row, .*\. Got \[\]"),
        ([[True, False]], None, r"Got \[True, False\]"),
        ([[0, 1]], [[0.5, 0.6]], r"2 numbers that sum to 1. Got \[0.5, 0.6\]"),
        ([[0, 1]], [[1.0]], r"2 numbers that sum to 1. Got \[1.0\]"),
        ([[0, 1]], [], "0 lists of weights for 1 groups"),
        ([[0, 1], [1, 2]], None, "Row 2 of group 1 holds values that are not finite"),
        ([[1, 3]], None, r"Constant 'mask' differs within group 0 \(rows \[1, 3\]\)"),
    ],
)
def test_what_has_no_average_is_refused(groups: Any, weights: Any, message: str) -> None:
    some = population()
    some.weights[2, 0] = np.nan
    some.extra["mask"][3, 1] = False
    with pytest.raises(LayoutMismatch, match=message):
        average(some, groups, weights=weights)


def test_no_groups_give_no_networks() -> None:
    assert len(average(population(), [])) == 0
    with pytest.raises(LayoutMismatch, match="at least one population"):
        average([], [[0]])
