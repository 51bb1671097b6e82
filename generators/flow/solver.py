"""Integrating a velocity over time, with the part that is known done exactly.

With ``x = scale(t) y`` the equation ``dx/dt = rate(t) x + residual`` becomes
``dy/dt = residual / scale(t)``: few steps suffice, and none where the residual is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from catalog.plugins.ranges import Setting
from generators.flow.path import Start

Method = Literal["euler", "heun", "rk4"]
EVALUATIONS = {"euler": 1, "heun": 2, "rk4": 4}
"""Of the residual, per step."""
Residual = Callable[[Tensor, Tensor], Tensor]
"""From codes (b, k) and times (b, 1) to velocities (b, k)."""

Slope = Callable[[Tensor, float], Tensor]
"""Right-hand side of an equation ``dy/dt = slope(y, t)``."""


@dataclass(frozen=True)
class Solver:
    """A fixed grid of steps.

    Attributes
    ----------
    method : {"euler", "heun", "rk4"}
    steps : int
    error : float
        Estimated relative error of its end points; NaN if it was not estimated.

    Raises
    ------
    NotFound
        If there is no such method.
    BadSetting
        If there is not a step.
    """

    method: Method = "rk4"
    steps: int = 8
    error: float = float("nan")

    def __post_init__(self) -> None:
        Setting.of(self, "method").one_of(get_args(Method))
        Setting.of(self, "steps").whole(1)

    def solve(
        self, residual: Residual, start: Start, noise: Tensor, *, begin: float = 0.0
    ) -> Tensor:
        """Where standard normal noise (b, k), or points at another time, are at time 1."""
        y = noise / start.scale(noise.new_full((1, 1), begin)) if begin else noise
        y = self.integrate(scaled_slope(residual, start), y, begin=begin)
        return y * start.scale(torch.ones(1, 1, dtype=noise.dtype))

    def estimate(self, residual: Residual, start: Start, noise: Tensor) -> float:
        """Relative error (root mean square) of end points, against twice the steps."""
        ours = self.solve(residual, start, noise)
        finer = Solver(self.method, 2 * self.steps).solve(residual, start, noise)
        return _apart(ours, finer)

    def integrate(
        self, slope: Slope, y: Tensor, *, backward: bool = False, begin: float = 0.0
    ) -> Tensor:
        """The solution of ``dy/dt = slope(y, t)`` at time 1 from ``begin``, or backward."""
        span = 1 - begin
        grid = [begin + span * (i / self.steps) for i in range(self.steps + 1)]
        if backward:
            grid.reverse()
        for now, then in pairwise(grid):
            y = _step(self.method, slope, y, now, then - now)
        return y


def scaled_slope(residual: Residual, start: Start) -> Slope:
    """The velocity of ``y = x / scale(t)``."""

    def slope(y: Tensor, t: float) -> Tensor:
        at = torch.full((len(y), 1), t, dtype=y.dtype)
        scale = start.scale(at)
        return residual(scale * y, at) / scale

    return slope


def accurate_solver(
    residual: Residual,
    start: Start,
    noise: Tensor,
    *,
    method: Method = "rk4",
    tolerance: float = 1e-3,
    most: int = 128,
) -> Solver:
    """The fewest steps 2, 4, 8, ... with an estimated error below the tolerance.

    Parameters
    ----------
    noise : Tensor of shape (b, k)
        To estimate with.
    most : int
        Steps that are not exceeded, whatever the error: it is stated in the result.
    """
    steps, ours = 2, Solver(method, 2).solve(residual, start, noise)
    while True:
        finer = Solver(method, 2 * steps).solve(residual, start, noise)
        error = _apart(ours, finer)
        if error <= tolerance or 2 * steps > most:
            return Solver(method, steps, error)
        steps, ours = 2 * steps, finer


def _apart(ours: Tensor, finer: Tensor) -> float:
    return float((ours - finer).norm() / finer.norm())


def _step(method: Method, slope: Slope, y: Tensor, t: float, h: float) -> Tensor:
    first = slope(y, t)
    if method == "euler":
        return y + h * first
    if method == "heun":
        return y + h / 2 * (first + slope(y + h * first, t + h))
    second = slope(y + h / 2 * first, t + h / 2)
    third = slope(y + h / 2 * second, t + h / 2)
    fourth = slope(y + h * third, t + h)
    return y + h / 6 * (first + 2 * second + 2 * third + fourth)
