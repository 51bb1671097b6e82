"""Charts of characters: nothing is hidden, and ASCII stays ASCII."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.show.blocks import WIDTH, bars, histogram_sparkline, prints_blocks, sparkline
from catalog.show.histogram import Histogram

COUNTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=12)


def of(counts: list[int], nonfinite: int = 0) -> Histogram:
    edges = [float(i) for i in range(len(counts) + 1)]
    return Histogram(edges=edges, counts=counts, nonfinite=nonfinite)


@given(COUNTS.filter(any), st.booleans())
def test_a_bar_shows_exactly_the_bins_that_hold_something(
    counts: list[int], blocks: bool
) -> None:
    lines = bars(of(counts), blocks)
    wide = max(line.index("  ") for line in lines)
    drawn = [line[wide:][2 : 2 + WIDTH].strip() for line in lines]
    assert [bool(bar) for bar in drawn] == [bool(count) for count in counts]
    assert len(drawn[counts.index(max(counts))]) == WIDTH
    assert all(f"  {count:,}  " in line for line, count in zip(lines, counts, strict=True))
    assert blocks or all(line.isascii() for line in lines)
    spark = histogram_sparkline(of(counts), blocks)
    assert [mark != " " for mark in spark] == [bool(count) for count in counts]


@given(st.lists(st.none() | st.floats(), max_size=20), st.booleans())
def test_a_sparkline_has_a_mark_per_value(values: list[float | None], blocks: bool) -> None:
    line = sparkline(values, blocks)
    assert len(line) == len(values)
    assert blocks or line.isascii()
    assert [mark == " " for mark in line] == [value is None for value in values]


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([float("inf"), 2.0, 2.0]) == "x▁▁"


def test_values_that_are_not_finite_are_said() -> None:
    assert bars(of([1], 3))[-1] == "3 values are NaN or infinite"
    assert bars(Histogram(edges=[], counts=[], nonfinite=2)) == [
        "2 values are NaN or infinite"
    ]


@pytest.mark.parametrize(
    ("encoding", "can"), [("utf-8", True), ("ascii", False), ("latin-1", False)]
)
def test_blocks_are_used_where_the_encoding_has_them(encoding: str, can: bool) -> None:
    assert prints_blocks(io.TextIOWrapper(io.BytesIO(), encoding)) is can
