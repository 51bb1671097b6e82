import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import Layout, LayoutMismatch, NotFound, Param
from catalog.axis_symbol import split_symbol


@given(st.from_type(Layout), st.integers(0, 3) | st.none(), st.integers(0, 1 << 32))
def test_flattening_and_unflattening_are_inverses(
    layout: Layout, n: int | None, seed: int
) -> None:
    lead = () if n is None else (n,)
    vectors = np.random.default_rng(seed).normal(size=(*lead, layout.d))
    vectors = vectors.astype(np.float32)
    tensors = layout.unflatten(vectors)
    assert {k: v.shape for k, v in tensors.items()} == {
        p.name: (*lead, *p.shape) for p in layout if p.in_vector
    }
    if tensors:
        assert np.array_equal(layout.flatten(tensors), vectors)


@given(st.from_type(Layout))
def test_a_layout_survives_json(layout: Layout) -> None:
    back = Layout.from_json(json.loads(json.dumps(layout.to_json())))
    assert back == layout
    assert back.id == layout.id


@given(st.from_type(Layout), st.from_type(Layout))
def test_ids_are_equal_iff_layouts_are(one: Layout, other: Layout) -> None:
    assert (one.id == other.id) == (one == other)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "v"},
        {"shape": (2, 3), "axes": ("h", None)},
        {"axes": ("h", None)},
        {"axes": (None, "h")},
        {"dtype": "float16"},
        {"role": "buffer"},
    ],
)
def test_every_field_of_a_tensor_changes_the_id(change: dict[str, Any]) -> None:
    param = Param("w", (3, 2))
    changed = dataclasses.replace(param, **change)
    assert Layout((param,)).id != Layout((changed,)).id


@given(st.from_type(Layout))
def test_slices_tile_the_weight_vector_in_order(layout: Layout) -> None:
    covered = [
        i for columns in layout.slices.values() for i in range(*columns.indices(layout.d))
    ]
    assert covered == list(range(layout.d))
    assert {*layout.slices} | {p.name for p in layout.extra} == {p.name for p in layout}


def test_the_order_of_tensors_is_part_of_the_layout() -> None:
    a, b = Param("a", (2,)), Param("b", (2,))
    assert Layout((a, b)).id != Layout((b, a)).id


def test_a_block_symbol_permutes_units_of_consecutive_positions() -> None:
    layout = Layout(
        (Param("conv", (4, 3), ("c", None)), Param("fc", (2, 36), (None, "c*9")))
    )
    assert layout.symbols == {"c": 4}
    assert split_symbol("c*9") == ("c", 9)


W = Param("w", (4, 3), ("h", None))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Layout((W, W)), "Two tensors have the name 'w'"),
        (
            lambda: Layout((W, Param("b", (5,), ("h",)))),
            "'h' stands for 4 units in 'w' and for 5",
        ),
        (lambda: Layout((W, Param("b", (9,), ("h*2",)))), "stands for 4 units"),
        (lambda: Param("w", (4, 3), ("h",)), "2 axes .* but 1 axis symbols"),
        (lambda: Param("w", (4,), ("h", None)), "1 axes .* but 2 axis symbols"),
        (lambda: Param("w", (2, -1)), r"negative size: \(2, -1\)"),
        (lambda: Param("w", (2,), (), "int64"), "a parameter must be floating"),
        (lambda: Param("w", (2,), (), "bool", "buffer"), "a buffer must be floating"),
        (
            lambda: Param("w", (2,), (), "float31", "counter"),
            "Unknown dtype 'float31'.*float32",
        ),
        (lambda: Param("w", (2,), role="weight"), "role of 'w' must be one of"),
        (lambda: split_symbol("c*"), r"'c\*' is not valid"),
        (lambda: split_symbol("c*0"), r"'c\*0' is not valid"),
        (lambda: split_symbol("*3"), r"'\*3' is not valid"),
        (lambda: Layout((W,)).flatten({}), "'w' .4, 3. is missing"),
        (
            lambda: Layout((W,)).flatten({"w": np.zeros((3, 4))}),
            r"\(3, 4\), expected \(4, 3\)",
        ),
        (
            lambda: Layout((W,)).flatten({"w": np.zeros((1, 1, 4, 3))}),
            r"expected \(4, 3\)",
        ),
        (lambda: Layout((W,)).unflatten(np.zeros(11)), "must have length d = 12"),
        (
            lambda: Layout((W, Param("b", (4,)))).flatten(
                {"w": np.zeros((2, 4, 3)), "b": np.zeros((3, 4))}
            ),
            r"'b' holds \(3,\) networks, but the tensors before it hold \(2,\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, message: str) -> None:
    with pytest.raises(LayoutMismatch, match=message):
        make()


def test_an_unknown_tensor_is_answered_with_the_closest() -> None:
    layout = Layout((Param("conv1.weight", (1,)), Param("fc.bias", (1,))))
    with pytest.raises(NotFound, match=r"No tensor 'conv.weight'. Closest: conv1.weight"):
        layout["conv.weight"]
