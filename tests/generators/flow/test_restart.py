"""Restarts: they keep what is exact, and samples stay what their seed says."""

import numpy as np
import pytest
import torch

from generators.flow.path import GaussianStart, NoStart
from generators.flow.restart import Restart
from generators.flow.solver import Solver, scaled_slope

DEVIATION = torch.tensor([0.5, 1.0, 2.0])
START = GaussianStart(DEVIATION)


def nothing(x, t):
    return torch.zeros_like(x)


def rows(n, seed):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, 3), np.float32))


def test_a_gaussian_stays_itself_where_its_velocity_is_exact():
    n = 20_000
    ends = Solver().solve(nothing, START, rows(n, 0))
    found = Restart(times=5, at=0.75, noise=1.0, steps=2).refine(
        ends, nothing, START, lambda i: rows(n, i + 1)
    )
    error = DEVIATION / np.sqrt(2 * n)
    assert ((found.std(0) - DEVIATION).abs() < 5 * error).all()
    assert (found.mean(0).abs() < 5 * DEVIATION / np.sqrt(n)).all()
    # What was there is forgotten: a share of t s / scale(t) is left in each restart.
    t, s = 0.75, DEVIATION.numpy()
    left = (t * s / np.sqrt((1 - t) ** 2 + (t * s) ** 2)) ** 5
    told = [np.corrcoef(ends[:, k], found[:, k])[0, 1] for k in range(3)]
    np.testing.assert_allclose(told, left, atol=5 / np.sqrt(n))


def test_less_noise_than_was_there_shrinks_a_gaussian():
    ends = Solver().solve(nothing, START, rows(4000, 0))
    found = Restart(times=30, at=0.75, noise=0.5, steps=2).refine(
        ends, nothing, START, lambda i: rows(4000, i + 1)
    )
    s2 = DEVIATION.double() ** 2
    kept = (0.75**2 * s2 / (0.25**2 + 0.75**2 * s2)) ** 30
    expected = s2 * (0.25 + 0.75 * kept)  # half the noise is a quarter of the variance
    error = 5 * expected * np.sqrt(2 / 4000)
    assert ((found.double().var(0) - expected).abs() < error).all()


def test_no_restart_changes_nothing_and_solving_on_is_solving():
    ends = Solver().solve(nothing, START, rows(5, 0))
    assert torch.equal(Restart(times=0).refine(ends, nothing, START, rows), ends)

    def decay(x, t):
        return -x

    whole = Solver("rk4", 64).solve(decay, START, rows(5, 1))
    half = START.scale(torch.full((1, 1), 0.5))
    middle = half * _until_half(scaled_slope(decay, START), rows(5, 1))
    torch.testing.assert_close(
        Solver("rk4", 32).solve(decay, START, middle, begin=0.5),
        whole,
        rtol=1e-4,
        atol=1e-5,
    )


def test_noise_is_that_of_the_source():
    """Restarted by a published flow, whose noise is small, samples move as little."""
    ends = torch.zeros(4000, 3)
    start = NoStart(0.01)
    once = Restart(times=1, at=0.6, noise=0.5)
    found = once.refine(ends, nothing, start, lambda i: rows(4000, i))
    assert found.std() == pytest.approx(0.4 * 0.5 * 0.01, rel=0.05)


def test_what_runs_away_stays_as_it_was():
    ends = Solver().solve(nothing, START, rows(50, 0))

    def wild(x, t):
        return torch.where(x[:, :1] > 0, x**3 * 1e3, 0 * x)

    found = Restart(times=20).refine(ends, wild, START, lambda i: rows(50, i + 1))
    same = (found == ends).all(1)
    assert found.isfinite().all()
    assert 0 < same.sum() < 50


def _until_half(slope, y, steps=256):
    for i in range(steps):
        t, h = 0.5 * i / steps, 0.5 / steps
        y = y + h * slope(y + h / 2 * slope(y, t), t + h / 2)
    return y


@pytest.mark.parametrize(
    ("name", "value"), [("times", -1), ("at", 1.0), ("noise", -0.1), ("steps", 0)]
)
def test_settings_that_mean_nothing_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} of Restart must be"):
        Restart(**{name: value})
