"""Every finite value is in exactly one bin, and the rest is counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from catalog.show.histogram import histogram

VALUES = arrays.arrays(
    np.float64,
    st.integers(0, 40),
    elements=st.floats(width=64) | st.sampled_from([0.0, 1.0, 1.7e308, -1.7e308, 5e-324]),
)


@given(VALUES, st.integers(1, 20))
def test_bins_hold_every_finite_value_once(values: np.ndarray, bins: int) -> None:
    found = histogram(values, bins)
    finite = values[np.isfinite(values)]
    edges, counts = np.array(found["edges"]), found["counts"]
    assert sum(counts) == len(finite)
    assert found["nonfinite"] == len(values) - len(finite)
    if not len(finite):
        assert (found["edges"], counts) == ([], [])
        return
    assert len(edges) == len(counts) + 1
    assert (edges[0], edges[-1]) == (finite.min(), finite.max())
    for i, count in enumerate(counts):
        last = i == len(counts) - 1
        inside = (finite >= edges[i]) & (
            (finite <= edges[i + 1]) if last else (finite < edges[i + 1])
        )
        assert inside.sum() == count


def test_equal_values_are_one_bin_at_that_value() -> None:
    found = histogram(np.full((2, 3), 0.25, np.float32))
    assert found == {"edges": [0.25, 0.25], "counts": [6], "nonfinite": 0}


def test_bools_and_integers_are_numbers() -> None:
    assert histogram(np.array([True, False, True]), 2)["counts"] == [1, 2]
    assert histogram(np.array([1, 5], np.int64), 2)["edges"] == [1.0, 3.0, 5.0]


def test_no_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="'bins' parameter of histogram must be >= 1"):
        histogram(np.zeros(3), 0)
