import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from probes.statistics.shaping import Shaping


@given(st.integers(3, 40), st.integers(0, 99))
def test_normal_scores_are_ranks_whatever_the_scale(n, seed):
    F = np.random.default_rng(seed).standard_normal((n, 2)).round(1)
    if (np.ptp(F, axis=0) == 0).any():
        return
    found = Shaping.of(F, "quantile").apply(F)
    np.testing.assert_allclose(Shaping.of(7 * F + 3, "quantile").apply(7 * F + 3), found)
    share = (rankdata(F, axis=0) - 1) / (n - 1)
    expected = norm.ppf(np.clip(share, 0.5 / n, 1 - 0.5 / n))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("shape", ["quantile", "standard"])
def test_what_hardly_varies_stays_zero_and_what_is_new_stays_in_bounds(shape):
    rng = np.random.default_rng(0)
    F = np.stack([np.full(50, 0.3), 5 + 1e-6 * rng.random(50), rng.random(50)], axis=1)
    shaping = Shaping.of(F, shape)
    found = shaping.apply(F + np.array([0, 1, 0]))
    assert not found[:, :2].any()
    assert np.ptp(found[:, 2]) > 2
    if shape == "quantile":
        far = shaping.apply(np.array([[0, 0, -1e9], [0, 0, 1e9]]))[:, 2]
        np.testing.assert_allclose(far, norm.ppf([0.01, 0.99]))
