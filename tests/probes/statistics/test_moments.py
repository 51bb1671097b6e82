import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import probes.statistics.moments
from probes.statistics.moments import MOMENTS, PERCENTILES, moments


@given(
    st.integers(1, 40), st.integers(1, 5), st.integers(0, 99), st.sampled_from([0, 3, 9])
)
def test_they_are_those_of_numpy(m, n, seed, decimals):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, m)).round(decimals).astype(np.float32)
    found = moments(values)
    wide = values.astype(np.float64)
    expected = [wide.mean(1), wide.std(1), *np.percentile(wide, PERCENTILES, axis=1)]
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-5, atol=1e-6)
    assert found.shape == (n, len(MOMENTS))


def test_blocks_and_strides_change_nothing(monkeypatch):
    wide = np.random.default_rng(0).standard_normal((7, 90)).astype(np.float32)
    whole = moments(np.ascontiguousarray(wide[:, 20:60]))
    monkeypatch.setattr(probes.statistics.moments, "_BYTES", 2 * 4 * 40)
    np.testing.assert_array_equal(moments(wide[:, 20:60]), whole)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e7])
def test_equal_values_have_no_spread(value):
    found = moments(np.full((2, 1001), value, np.float32))
    assert (found[:, 1] == 0).all()
    assert (found[:, [0, 2, 3, 4, 5, 6]] == np.float32(value)).all()
