"""Means over pairs of seeds, and the error of a cell's mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.landscape.pair_means import pair_means
from zoo.networks import pairing

FOUR = np.array(pairing(4))


@pytest.mark.parametrize(("seeds", "low"), [(3, 0.85), (4, 0.88), (5, 0.9), (10, 0.93)])
def test_the_error_is_the_spread_of_cells_whose_seeds_have_effects(seeds, low):
    """3,000 cells side by side; the mean of a standard deviation is a little low."""
    draw, cells = np.random.default_rng(0), 3000
    one = np.array(pairing(seeds))
    pairs = (one[None] + seeds * np.arange(cells)[:, None, None]).reshape(-1, 2)
    effects = draw.normal(0, 0.05, seeds * cells)
    values = effects[pairs].sum(1) + draw.normal(0, 0.002, len(pairs))
    _, error = pair_means(pairs, values, seeds * cells)
    spread = values.reshape(cells, -1).mean(1).std()
    stated = error.reshape(cells, seeds)
    assert (stated == stated[:, :1]).all()
    assert low < stated[:, 0].mean() / spread < 1.12


def test_the_error_is_never_too_small_where_pairs_vary_on_their_own():
    draw, cells = np.random.default_rng(0), 3000
    pairs = (FOUR[None] + 4 * np.arange(cells)[:, None, None]).reshape(-1, 2)
    values = draw.normal(size=len(pairs))
    _, error = pair_means(pairs, values, 4 * cells)
    ratio = np.mean(error**2) / values.reshape(cells, -1).mean(1).var()
    assert 2.5 < ratio < 3.5  # 2 (n - 1) / (n - 2) = 3


@given(arrays(np.float64, 6, elements=st.floats(-5, 5)), st.permutations(range(4)))
def test_networks_have_the_mean_of_their_pairs_and_the_jackknife_of_their_cell(
    values, order
):
    mean, error = pair_means(FOUR, values, 5)
    np.testing.assert_allclose(mean[:4].mean(), values.mean(), atol=1e-12)
    for i in range(4):
        own = values[(i == FOUR).any(1)]
        np.testing.assert_allclose(mean[i], own.mean(), atol=1e-12)
    left = np.array([values[(i != FOUR).all(1)].mean() for i in range(4)])
    expected = np.sqrt(3 / 4 * ((left - left.mean()) ** 2).sum())
    np.testing.assert_allclose(error[:4], expected, atol=1e-12)
    assert np.isnan([mean[4], error[4]]).all()
    moved, same = pair_means(np.argsort(order)[FOUR], values, 5)
    np.testing.assert_allclose(moved[:4], mean[order], atol=1e-12)
    np.testing.assert_allclose(same[:4], error[order], atol=1e-12)


def test_cells_have_errors_of_their_own():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(2, 6))
    pairs = np.concatenate((2 * FOUR, 2 * FOUR + 1))  # interleaved
    _, error = pair_means(pairs, np.concatenate((first, second)), 8)
    for at, values in enumerate((first, second)):
        alone = pair_means(FOUR, values, 4)[1]
        np.testing.assert_allclose(error[at::2], alone)


def test_a_seed_without_values_is_left_out():
    values = np.array([np.nan if 0 in pair else sum(pair) for pair in FOUR.tolist()])
    mean, error = pair_means(FOUR, values, 4)
    alone = pair_means(np.array(pairing(3)), values[3:], 3)
    np.testing.assert_array_equal(mean, [np.nan, *alone[0]])
    np.testing.assert_array_equal(error, [np.nan, *alone[1]])


def test_a_pair_without_a_value_is_left_out():
    """Without seed 1 there is no pair left: nothing tells the error."""
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    mean, error = pair_means(pairs, np.array([1.0, np.nan, 3.0]), 3)
    assert mean.tolist() == [1, 2, 3]
    assert np.isnan(error).all()


def test_two_seeds_have_no_error():
    mean, error = pair_means(np.array([[0, 1]]), np.array([2.0]), 2)
    assert mean.tolist() == [2, 2]
    assert np.isnan(error).all()
    none = pair_means(np.empty((0, 2), np.int64), np.empty(0), 2)
    assert np.isnan(none).all()
