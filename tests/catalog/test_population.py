from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import Layout, LayoutMismatch, NotFound, Param, Population
from catalog.dtypes import dtype


def bits(value: np.ndarray) -> bytes:
    return np.ascontiguousarray(value).tobytes()


@given(...)
def test_state_dicts_hold_every_tensor_in_its_own_shape_and_dtype(
    population: Population,
) -> None:
    for i in range(len(population)):
        state = population.state_dict(i)
        assert list(state) == [param.name for param in population.layout]
        for param in population.layout:
            value = state[param.name]
            assert isinstance(value, np.ndarray)
            assert (value.shape, value.dtype) == (
                param.shape,
                dtype(param.dtype).storage,
            )
            assert bits(value) == bits(population.stored(param.name)[i])


@given(...)
def test_from_tensors_inverts_stored(population: Population) -> None:
    tensors = {p.name: population.stored(p.name) for p in population.layout}
    back = Population.from_tensors(tensors, population.layout, population.table)
    for name, values in tensors.items():
        assert bits(back.stored(name)) == bits(values)


@given(st.from_type(Population), st.data())
def test_selecting_rows_selects_them_everywhere(population: Population, data: Any) -> None:
    rows = data.draw(st.lists(st.integers(0, len(population) - 1), max_size=6))
    part = population.select(rows)
    assert part["run_id"].tolist() == [population["run_id"][i] for i in rows]
    for i, row in enumerate(rows):
        for name, value in part.state_dict(i).items():
            assert bits(value) == bits(population.state_dict(row)[name])
    mask = np.isin(np.arange(len(population)), rows)
    assert population.select(mask)["run_id"].tolist() == [
        population["run_id"][i] for i in sorted(set(rows))
    ]


@given(st.from_type(Population), st.integers(0, 7))
def test_splitting_and_concatenating_is_the_identity(
    population: Population, at: int
) -> None:
    rows = np.arange(len(population))
    parts = [population.select(rows[:at]), population.select(rows[at:])]
    whole = Population.concat(parts)
    assert whole.table.equals(population.table)
    for param in population.layout:
        assert bits(whole.stored(param.name)) == bits(population.stored(param.name))


LAYOUT = Layout((Param("w", (2, 3)), Param("n", (), (), "int64", "counter")))
TABLE = pa.table({"run_id": ["a"], "step": [0]})
WEIGHTS = np.zeros((1, 6), np.float32)
EXTRA = {"n": np.zeros(1, np.int64)}


@pytest.mark.parametrize(
    ("weights", "table", "extra", "message"),
    [
        (
            WEIGHTS.astype(np.float64),
            TABLE,
            EXTRA,
            r"float32 of shape \(1, 6\).*Got float64",
        ),
        (np.zeros((2, 6), np.float32), TABLE, EXTRA, r"Got float32 \(2, 6\)"),
        (np.zeros((1, 5), np.float32), TABLE, EXTRA, r"Got float32 \(1, 5\)"),
        (
            WEIGHTS,
            pa.table({"run_id": ["a"]}),
            EXTRA,
            "no column 'step'.*Its columns: run_id",
        ),
        (WEIGHTS, pa.table({"step": [0]}), EXTRA, "no column 'run_id'"),
        (WEIGHTS, TABLE, {}, r"extra\['n'\] must be int64 \(1,\). Got nothing"),
        (WEIGHTS, TABLE, {"n": np.zeros(1, np.int32)}, "Got int32"),
        (WEIGHTS, TABLE, {"n": np.zeros((1, 1), np.int64)}, r"Got int64 \(1, 1\)"),
    ],
)
def test_parts_that_disagree_are_refused(
    weights: Any, table: Any, extra: Any, message: str
) -> None:
    with pytest.raises(LayoutMismatch, match=message):
        Population(weights, LAYOUT, table, extra)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"n": EXTRA["n"]}, "'w' .2, 3. is missing. Closest: n|Known: n"),
        (
            {"w": WEIGHTS.reshape(1, 3, 2), **EXTRA},
            r"float32 \(1, 2, 3\). Got float32 \(1, 3, 2\)",
        ),
        ({"w": np.zeros((1, 2, 3)), **EXTRA}, r"Got float64 \(1, 2, 3\)"),
        (
            {"w": WEIGHTS.reshape(1, 2, 3), "n": np.zeros(1, np.uint8)},
            r"must be int64 \(1,\)",
        ),
    ],
)
def test_tensors_of_another_shape_or_dtype_are_refused(tensors: Any, message: str) -> None:
    with pytest.raises(LayoutMismatch, match=message):
        Population.from_tensors(tensors, LAYOUT, TABLE)


def test_bfloat16_is_taken_as_its_bits_never_as_numbers() -> None:
    layout = Layout((Param("w", (1,), (), "bfloat16"),))
    bits16 = np.array([[0x3FC0]], np.uint16)
    assert Population.from_tensors({"w": bits16}, layout, TABLE).weights == [[1.5]]
    with pytest.raises(LayoutMismatch, match="must be uint16"):
        Population.from_tensors({"w": np.array([[1.5]], np.float32)}, layout, TABLE)


def test_a_lossy_float64_needs_a_word() -> None:
    layout = Layout((Param("w", (1,), (), "float64"),))
    tensors = {"w": np.array([[0.1]])}
    with pytest.raises(LayoutMismatch, match="lossy=True"):
        Population.from_tensors(tensors, layout, TABLE)
    rounded = Population.from_tensors(tensors, layout, TABLE, lossy=True)
    assert rounded.weights == np.float32(0.1)


def test_other_layouts_and_unknown_columns_are_refused(
    networks: Callable[..., Population],
) -> None:
    one, other = networks(LAYOUT), networks(Layout((Param("w", (7,)),)))
    with pytest.raises(LayoutMismatch, match=r"d = 6.* and .*d = 7"):
        Population.concat([one, other])
    with pytest.raises(LayoutMismatch, match="at least one population"):
        Population.concat([])
    with pytest.raises(NotFound, match=r"No column 'run'. Closest: run_id"):
        one["run"]
    with pytest.raises(IndexError, match="out of range"):
        one.state_dict(3)


def test_to_arrow_shares_memory_with_the_weights(networks: Any, small_layout: Any) -> None:
    population = networks(small_layout, 4)
    table = population.to_arrow()
    assert table.column_names == [*population.table.column_names, "weights"]
    column = table["weights"].chunk(0)
    flat = column.flatten().to_numpy(zero_copy_only=True)
    assert np.shares_memory(flat, population.weights)
    assert flat.tobytes() == population.weights.tobytes()
    assert column.type.list_size == population.layout.d
    population.weights[2, 0] = 42.0
    assert column[2].as_py()[0] == 42.0


def test_to_arrow_does_not_hide_a_column() -> None:
    table = pa.table({"run_id": ["a"], "step": [0], "weights": [1.0]})
    population = Population(np.ones((1, 2), np.float32), Layout((Param("w", (2,)),)), table)
    with pytest.raises(LayoutMismatch, match="already has a column 'weights'"):
        population.to_arrow()
