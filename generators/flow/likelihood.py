"""Density of codes under a flow, by the change of volume along their paths.

References
----------
.. [1] Chen et al., 2018, arXiv:1806.07366: the trace. Grathwohl et al., 2019,
   arXiv:1810.01367: its estimate by random directions (Hutchinson).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from catalog import CatalogError
from generators.flow.path import Start
from generators.flow.solver import Residual, Solver


def log_density(
    residual: Residual,
    start: Start,
    x: Tensor,
    solver: Solver,
    *,
    spread: Tensor | None = None,
    probes: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Return the log density (b,) in nats of codes (b, k) at time 1.

    Parameters
    ----------
    residual : callable
        Residual as for `Solver.solve`; each row's result depends on that row alone.
    start : Start
        Known part of the velocity.
    x : Tensor of shape (b, k)
        Codes.
    solver : Solver
        Solver for codes and volumes; its error is stated by `Solver`.
    spread : Tensor of shape (r, k), optional
        Spread of the noise, see `Noise`.
    probes : int, optional
        Number of random sign vectors with which the divergence is estimated (one draw for
        the whole path: without bias in the logarithm). Default: exact, with k gradients per
        evaluation.
    seed : int
        Seed of the signs.

    Raises
    ------
    CatalogError
        If the noise does not span all k dimensions.
    """
    b, k = x.shape
    if spread is not None and len(spread) != k:
        raise CatalogError(
            f"There is no density: the training networks, and so the noise, fill "
            f"{len(spread)} of {k} dimensions. Fit on their {len(spread)} principal "
            "components with velocity='film_mlp', or on fewer with components=k, or fit "
            f"to more than {k} networks."
        )
    directions = None
    if probes is not None:
        if probes < 1:
            raise ValueError(f"probes must be 1 or more. Got {probes}.")
        draw = torch.Generator().manual_seed(seed)
        signs = torch.randint(0, 2, (probes, 1, k), generator=draw)
        directions = (2 * signs - 1).to(x.dtype).expand(probes, b, k)

    def slope(state: Tensor, t: float) -> Tensor:
        """Return the velocity of y, and the divergence of the residual in x."""
        times = torch.full((b, 1), t, dtype=x.dtype)
        scale = start.scale(times)
        velocity, divergence = _divergence(
            residual, scale * state[:, :k], times, directions
        )
        return torch.cat([velocity / scale, divergence[:, None]], 1)

    scale = start.scale(torch.ones(1, 1, dtype=x.dtype)).expand(1, k)
    state = torch.cat([x / scale, torch.zeros_like(x[:, :1])], 1)
    initial = solver.integrate(slope, state, backward=True)
    noise, change = initial[:, :k], initial[:, k]  # change: minus the integral from 0 to 1
    volume = noise.new_zeros(())
    if spread is not None:
        noise = torch.linalg.solve(spread.T, noise.T).T
        volume = torch.linalg.slogdet(spread).logabsdet
    normal = -0.5 * (noise**2).sum(1) - k / 2 * math.log(2 * math.pi) - volume
    return normal + change - scale.log().sum()


def _divergence(
    residual: Residual, x: Tensor, t: Tensor, directions: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the residual (b, k) and its divergence (b,), exact or along directions."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        velocity = residual(x, t)
        if not velocity.requires_grad:  # does not depend on x
            return velocity, torch.zeros_like(velocity[:, 0])
        total = torch.zeros_like(velocity[:, 0])
        along = _axes(velocity) if directions is None else directions
        for direction in along:
            (gradient,) = torch.autograd.grad(velocity, x, direction, retain_graph=True)
            total = total + (gradient * direction).sum(1)
    if directions is not None:
        total = total / len(directions)
    return velocity.detach(), total.detach()


def _axes(like: Tensor) -> Iterator[Tensor]:
    """Yield the k axes, each for all rows."""
    for i in range(like.shape[1]):
        axis = torch.zeros_like(like)
        axis[:, i] = 1
        yield axis
