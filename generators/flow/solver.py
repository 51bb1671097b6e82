"""Integration of a velocity over time, with an exact solution of the known part.

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
"""Number of evaluations of the residual per step."""
Residual = Callable[[Tensor, Tensor], Tensor]
"""Function from codes (b, k) and times (b, 1) to velocities (b, k)."""

Slope = Callable[[Tensor, float], Tensor]
"""Right-hand side of an equation ``dy/dt = slope(y, t)``."""


@dataclass(frozen=True)
class Solver:
    """Solver with a fixed grid of steps.

    Attributes
    ----------
    method : {"euler", "heun", "rk4"}
        Integration method.
    steps : int
        Number of steps from time 0 to 1.
    error : float
        Estimated relative error of the points at time 1; NaN if it was not estimated.

    Raises
    ------
    NotFound
        If there is no such method.
    BadSetting
        If the number of steps is not an int of at least 1.
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
        """Transport standard noise (b, k) to points (b, k) at time 1.

        With ``begin``, ``noise`` holds points (b, k) at that time instead.
        """
        y = noise / start.scale(noise.new_full((1, 1), begin)) if begin else noise
        y = self.integrate(scaled_slope(residual, start), y, begin=begin)
        return y * start.scale(torch.ones(1, 1, dtype=noise.dtype))

    def estimate(self, residual: Residual, start: Start, noise: Tensor) -> float:
        """Estimate the relative error (root mean square) of the points at time 1.

        The reference is a solution with twice as many steps.
        """
        coarse = self.solve(residual, start, noise)
        finer = Solver(self.method, 2 * self.steps).solve(residual, start, noise)
        return _relative_error(coarse, finer)

    def integrate(
        self, slope: Slope, y: Tensor, *, backward: bool = False, begin: float = 0.0
    ) -> Tensor:
        """Integrate ``dy/dt = slope(y, t)`` from time ``begin`` to 1, or backward."""
        span = 1 - begin
        grid = [begin + span * (i / self.steps) for i in range(self.steps + 1)]
        if backward:
            grid.reverse()
        for time, next_time in pairwise(grid):
            y = _step(self.method, slope, y, time, next_time - time)
        return y


def scaled_slope(residual: Residual, start: Start) -> Slope:
    """Return the right-hand side ``dy/dt`` for ``y = x / scale(t)``."""

    def slope(y: Tensor, t: float) -> Tensor:
        times = torch.full((len(y), 1), t, dtype=y.dtype)
        scale = start.scale(times)
        return residual(scale * y, times) / scale

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
    """Return the solver with the fewest steps whose error is within a tolerance.

    The numbers of steps are 2, 4, 8, ...

    Parameters
    ----------
    residual : callable
        Residual as for `Solver.solve`.
    start : Start
        Known part of the velocity.
    noise : Tensor of shape (b, k)
        Noise with which the error is estimated.
    method : {"euler", "heun", "rk4"}
        Integration method.
    tolerance : float
        Relative error.
    most : int
        Maximum number of steps, even if the error is above the tolerance; the result states
        the error.
    """
    steps, coarse = 2, Solver(method, 2).solve(residual, start, noise)
    while True:
        finer = Solver(method, 2 * steps).solve(residual, start, noise)
        error = _relative_error(coarse, finer)
        if error <= tolerance or 2 * steps > most:
            return Solver(method, steps, error)
        steps, coarse = 2 * steps, finer


def _relative_error(coarse: Tensor, finer: Tensor) -> float:
    return float((coarse - finer).norm() / finer.norm())


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
