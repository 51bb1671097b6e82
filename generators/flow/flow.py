"""A learned flow as data: noise to codes, and the density of codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from catalog.dtypes import Array
from generators.flow.gate import TrainingHistory
from generators.flow.guidance import Pull, conditional, pulled
from generators.flow.likelihood import log_density
from generators.flow.noise import Noise
from generators.flow.path import GaussianStart, NoStart, Start
from generators.flow.restart import Restart
from generators.flow.solver import Residual, Solver, accurate_solver
from generators.flow.velocity import Velocity
from zoo import stream

BATCH = 64
"""Samples that are integrated together: they stay in a core's caches."""
ESTIMATED = 16
"""Samples by which the error of the solver is estimated."""


@dataclass(frozen=True)
class Flow:
    """A velocity with all it takes to rebuild and to integrate it.

    Attributes
    ----------
    network : str
    sizes : dict
        Of the network.
    features : int
        Of a condition.
    effect : bool
        Whether conditions have a linear effect beside the network.
    deviation : ndarray of shape (k,), float32
        Of the training codes: the Gaussian start, if ``source`` is None.
    source : float or None
        Deviation of the noise, without a Gaussian start.
    spread : ndarray of shape (r, k) or None
        Of the noise, see `Noise`.
    state : dict of str to ndarray
        Weights of the velocity.
    solver : Solver
        With its error on unconditional samples.
    curve : Curve
        Of training.
    """

    network: str
    sizes: Mapping[str, Any]
    features: int
    effect: bool
    deviation: Array
    source: float | None
    spread: Array | None
    state: Mapping[str, Array]
    solver: Solver
    curve: TrainingHistory

    @property
    def _spread(self) -> torch.Tensor | None:
        return None if self.spread is None else torch.from_numpy(self.spread)

    @property
    def k(self) -> int:
        """Length of a code."""
        return len(self.deviation)

    @property
    def restart(self) -> Restart | None:
        """What makes samples of learnt steps better; they may be off, see `Curve.kept`."""
        if self.network != "learnt_steps" or not self.velocity.on:
            return None
        return Restart()

    @cached_property
    def start(self) -> Start:
        """What was known of the velocity before learning."""
        return start_of(self.deviation, self.source)

    @cached_property
    def velocity(self) -> Velocity:
        """The network, ready to be evaluated."""
        found = Velocity(
            self.start, self.network, self.k, self.features, self.sizes, effect=self.effect
        )
        state = {n: torch.from_numpy(v) for n, v in self.state.items()}
        # Files from before there was a buffer mean what it begins with, but for what codes
        # are: that has to be told.
        told = {name for name, _ in found.named_parameters()}
        told |= {"network.mean", "network.deviation"}
        begun = {n: v for n, v in found.state_dict().items() if n not in told}
        found.load_state_dict({**begun, **state})
        return found.eval().requires_grad_(False)

    def residual(
        self,
        features: Array | None = None,
        *,
        guidance: float = 1.0,
        pulls: Sequence[Pull] = (),
    ) -> Residual:
        """What is integrated, for one condition and pulls.

        Raises
        ------
        ValueError
            If there are pulls, and no Gaussian start that tells how far data spread.
        """
        own = None if features is None else torch.from_numpy(features)
        found = conditional(self.velocity, own, guidance)
        if not pulls:
            return found
        if not isinstance(self.start, GaussianStart):
            raise ValueError(
                "Drawing samples towards a value needs the Gaussian start. Fit with "
                "source=None."
            )
        return pulled(found, self.start, pulls)

    def solver_for(self, residual: Residual, tolerance: float | None = None) -> Solver:
        """The fitted solver with its error on this residual, or one within a tolerance."""
        draw = torch.Generator().manual_seed(0)
        noise = Noise(self.k, self._spread, draw).fresh(ESTIMATED)
        with torch.no_grad():
            if tolerance is not None:
                return accurate_solver(residual, self.start, noise, tolerance=tolerance)
            error = self.solver.estimate(residual, self.start, noise)
        return Solver(self.solver.method, self.solver.steps, error)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        residual: Residual,
        *,
        seed: int,
        temperature: float = 1.0,
        restart: Restart | None = None,
    ) -> Array:
        """Codes (n, k) float32 of new networks; row i has the same noise for any n."""
        found = np.empty((n, self.k), np.float32)
        draw = stream(seed, "samples")
        for first in range(0, n, BATCH):
            rows = slice(first, min(first + BATCH, n))
            count = rows.stop - first
            noise = self._noise(count, draw, temperature)
            ends = self.solver.solve(residual, self.start, noise)
            if restart is not None:

                def again(i: int, first: int = first, count: int = count) -> torch.Tensor:
                    own = stream(seed, f"restart {i} from row {first}")
                    return self._noise(count, own, temperature)

                ends = restart.refine(ends, residual, self.start, again)
            found[rows] = ends.numpy()
        return found

    def _noise(
        self, count: int, draw: np.random.Generator, temperature: float
    ) -> torch.Tensor:
        """Rows (count, k) of the source."""
        r = self.k if self.spread is None else len(self.spread)
        noise = draw.standard_normal((count, r), np.float32)
        noise *= np.float32(temperature)
        return torch.from_numpy(noise if self.spread is None else noise @ self.spread)

    def log_density(
        self,
        codes: Array,
        residual: Residual,
        *,
        probes: int | None = None,
        seed: int = 0,
    ) -> Array:
        """Log density (b,) in nats of codes (b, k); see `likelihood.log_density`.

        Raises
        ------
        CatalogError
            If noise does not fill all dimensions.
        """
        x = torch.from_numpy(codes)
        found = log_density(
            residual, self.start, x, self.solver,
            spread=self._spread, probes=probes, seed=seed,
        )  # fmt: skip
        return found.numpy()


def start_of(deviation: Array, source: float | None) -> Start:
    """The Gaussian start, or, with a source of its own, none."""
    if source is not None:
        return NoStart(source)
    return GaussianStart(torch.from_numpy(deviation))
