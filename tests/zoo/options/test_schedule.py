"""Schedules against torch.optim.lr_scheduler."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR

from catalog import NotFound
from zoo.options.schedule import SCHEDULES, schedule

PEAK = 0.5
TORCH = {
    "linear": lambda o, steps: LinearLR(o, 1.0, 0.0, total_iters=steps),
    "cosine": lambda o, steps: CosineAnnealingLR(o, T_max=steps),
    "one_cycle": lambda o, steps: OneCycleLR(
        o, max_lr=PEAK, total_steps=steps, cycle_momentum=False
    ),
}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 37, 100])
def test_every_step_has_the_rate_that_torch_gives(name, steps):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=PEAK)
    scheduler = TORCH[name](optimizer, steps)
    for step in range(steps):
        rate = PEAK * schedule(name)(step, steps)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6, abs=1e-9)
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()


@pytest.mark.parametrize("name", SCHEDULES)
@given(steps=st.integers(1, 500), share=st.floats(0, 1, exclude_max=True))
def test_factors_lie_between_zero_and_the_peak(name, steps, share):
    assert 0 < SCHEDULES[name](int(share * steps), steps) <= 1


@pytest.mark.parametrize("name", ["linear", "cosine"])
@given(steps=st.integers(2, 300))
def test_decays_start_at_the_peak_and_never_rise(name, steps):
    factors = [SCHEDULES[name](step, steps) for step in range(steps)]
    assert factors[0] == 1
    assert factors == sorted(factors, reverse=True)


def test_constant_is_the_peak():
    assert {schedule("constant")(step, 9) for step in range(9)} == {1.0}


def test_an_unknown_schedule_is_answered_with_the_closest():
    with pytest.raises(NotFound, match=r"No schedule 'cosin'. Closest: cosine"):
        schedule("cosin")
