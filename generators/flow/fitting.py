"""From codes to a fitted flow."""

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
    """Learn a flow to codes.

    Parameters
    ----------
    deviation : ndarray of shape (k,)
        Of codes: where a Gaussian start ends.
    network, sizes
        As of `Velocity`.
    units : tuple of ndarray, optional
        Of `Standardised` codes: mean, scale (k,) and spread (r, k).
    source : float or None
        Deviation of the noise without a Gaussian start; None: with it.
    solver : Solver or None
        None: the fewest steps with an error below the tolerance.
    seed : int
        Of everything; torch's own stream is left as it was.
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
    found = flow.solver_for(flow.residual(), None if solver else tolerance)
    return replace(flow, solver=found)
