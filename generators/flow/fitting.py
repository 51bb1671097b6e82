"""Fitting of a flow to codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from catalog.dtypes import Array
from generators.flow.flow import Flow, start_of
from generators.flow.networks.learnt_steps import LearntSteps
from generators.flow.rows import FlowRows
from generators.flow.schedule import Schedule
from generators.flow.solver import Solver
from generators.flow.training import learn
from generators.flow.velocity import Velocity


def fitted_flow(
    rows: FlowRows,
    deviation: Array,
    validation: FlowRows | None,
    schedule: Schedule,
    *,
    network: str,
    sizes: Mapping[str, Any],
    units: tuple[Array, Array, Array] | None = None,
    source: float | None,
    solver: Solver | None,
    tolerance: float,
    seed: int,
    label: str | None = None,
) -> Flow:
    """Fit a flow to codes.

    Parameters
    ----------
    rows : FlowRows
        Training codes.
    deviation : ndarray of shape (k,)
        Standard deviations of the codes, where a Gaussian start ends.
    validation : FlowRows or None
        Codes of held-out networks.
    schedule : Schedule
        Settings of the training.
    network, sizes
        Arguments of `Velocity`.
    units : tuple of ndarray, optional
        Mean and scale (k,) and spread (r, k) of `Standardised` codes.
    source : float or None
        Standard deviation of the noise without a Gaussian start; None: with Gaussian start.
    solver : Solver or None
        None: the fewest steps with an error below the tolerance.
    tolerance : float
        Maximum relative error of the solver.
    seed : int
        Seed of all random draws; the global random state of torch is not changed.
    label : str, optional
        Start of the progress line; None: no progress.
    """
    features = 0 if rows.features is None else rows.features.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        velocity = Velocity(
            start_of(deviation, source),
            network,
            len(deviation),
            features,
            sizes,
            effect=source is None,
            spread=None if units is None else torch.from_numpy(units[2]),
        )
        if units is not None and isinstance(velocity.network, LearntSteps):
            velocity.network.standardise(*map(torch.from_numpy, units[:2]))
        if velocity.effect is not None:
            velocity.effect.begin(rows)
        curve = learn(velocity, rows, validation, schedule, seed=seed, label=label)
    flow = Flow(
        network=network,
        sizes=dict(sizes),
        features=features,
        effect=source is None,
        deviation=deviation,
        source=source,
        spread=None if units is None else units[2],
        state={name: v.detach().numpy() for name, v in velocity.state_dict().items()},
        solver=solver or Solver(),
        curve=curve,
    )
    tested_solver = flow.solver_for(flow.residual(), None if solver else tolerance)
    return replace(flow, solver=tested_solver)
