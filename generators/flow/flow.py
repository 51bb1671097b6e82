"""A fitted flow as data: sampling of codes from noise, and the density of codes."""

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
"""Number of samples that are integrated together, so that they fit into a core's caches."""
ESTIMATED = 16
"""Number of samples with which the error of the solver is estimated."""


@dataclass(frozen=True)
class Flow:
    """Velocity, with all that is needed to rebuild and to integrate it.

    Attributes
    ----------
    network : str
        Name of the velocity network.
    sizes : dict
        Sizes of the network.
    features : int
        Number of features of a condition.
    effect : bool
        Whether conditions have a linear effect beside the network.
    deviation : ndarray of shape (k,), float32
        Standard deviations of the training codes: the Gaussian start, if ``source`` is
        None.
    source : float or None
        Standard deviation of the noise, without a Gaussian start.
    spread : ndarray of shape (r, k) or None
        Spread of the noise, see `Noise`.
    state : dict of str to ndarray
        Weights of the velocity.
    solver : Solver
        Solver with its error on unconditional samples.
    curve : TrainingHistory
        Losses of the training.
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
        """Restarts that improve samples of learnt steps; None for other networks.

        Also None if the network is off, see `TrainingHistory.kept`.
        """
        if self.network != "learnt_steps" or not self.velocity.on:
            return None
        return Restart()

    @property
    def notes(self) -> list[str]:
        """Remarks on the fit for the user."""
        solver, lines = self.solver, []
        if not self.velocity.on:
            lines.append(
                "No velocity network was better on held-out networks than the Gaussian "
                "of the training networks: samples are drawn from that Gaussian, as by "
                "pca_gaussian."
            )
        lines.append(
            f"Solved by {solver.steps} steps of {solver.method}, relative error "
            f"{solver.error:.2g}"
            + (
                "; the restarts that follow improve the networks, not the accuracy of the "
                "solution."
                if self.restart
                else "."
            )
        )
        return lines

    @cached_property
    def start(self) -> Start:
        """Part of the velocity that is known before learning."""
        return start_of(self.deviation, self.source)

    @cached_property
    def velocity(self) -> Velocity:
        """The network, ready to be evaluated."""
        velocity = Velocity(
            self.start, self.network, self.k, self.features, self.sizes, effect=self.effect
        )
        state = {n: torch.from_numpy(v) for n, v in self.state.items()}
        # A buffer that an older file lacks has its initial value, except the unit of the
        # codes, which a file must state.
        required = {name for name, _ in velocity.named_parameters()}
        required |= {"network.mean", "network.deviation"}
        defaults = {n: v for n, v in velocity.state_dict().items() if n not in required}
        velocity.load_state_dict({**defaults, **state})
        return velocity.eval().requires_grad_(False)

    def residual(
        self,
        features: Array | None = None,
        *,
        guidance: float = 1.0,
        pulls: Sequence[Pull] = (),
    ) -> Residual:
        """Return the function to integrate for one condition and pulls.

        Parameters
        ----------
        features : ndarray of shape (f,), optional
            Features of the condition.
        guidance : float, default=1.0
            Strength of the condition, see `conditional`.
        pulls : sequence of Pull
            Pulls towards values of properties.

        Raises
        ------
        ValueError
            If there are pulls but no Gaussian start, which gives the spread of the data.
        """
        condition = None if features is None else torch.from_numpy(features)
        residual = conditional(self.velocity, condition, guidance)
        if not pulls:
            return residual
        if not isinstance(self.start, GaussianStart):
            raise ValueError(
                "Guiding samples towards a value needs the Gaussian start. Fit with "
                "source=None."
            )
        return pulled(residual, self.start, pulls)

    def solver_for(self, residual: Residual, tolerance: float | None = None) -> Solver:
        """Return the solver with its error on a residual, or one within a tolerance."""
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
        """Return codes (n, k) float32 of new networks.

        Row i has the same noise for any n.
        """
        codes = np.empty((n, self.k), np.float32)
        draw = stream(seed, "samples")
        for first in range(0, n, BATCH):
            rows = slice(first, min(first + BATCH, n))
            count = rows.stop - first
            noise = self._noise(count, draw, temperature)
            ends = self.solver.solve(residual, self.start, noise)
            if restart is not None:

                def fresh_noise(
                    i: int, first: int = first, count: int = count
                ) -> torch.Tensor:
                    restart_draw = stream(seed, f"restart {i} from row {first}")
                    return self._noise(count, restart_draw, temperature)

                ends = restart.refine(ends, residual, self.start, fresh_noise)
            codes[rows] = ends.numpy()
        return codes

    def _noise(
        self, count: int, draw: np.random.Generator, temperature: float
    ) -> torch.Tensor:
        """Return rows (count, k) of the source."""
        rank = self.k if self.spread is None else len(self.spread)
        noise = draw.standard_normal((count, rank), np.float32)
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
        """Return the log density (b,) in nats of codes (b, k).

        See `likelihood.log_density`.

        Raises
        ------
        CatalogError
            If the noise does not span all dimensions.
        """
        x = torch.from_numpy(codes)
        density = log_density(
            residual, self.start, x, self.solver,
            spread=self._spread, probes=probes, seed=seed,
        )  # fmt: skip
        return density.numpy()


def start_of(deviation: Array, source: float | None) -> Start:
    """Return the Gaussian start, or `NoStart` if the noise has another scale."""
    if source is not None:
        return NoStart(source)
    return GaussianStart(torch.from_numpy(deviation))
