"""Training loop of a velocity: flow matching on codes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from catalog.console.progress import Progress
from generators.flow.coupling import coupled
from generators.flow.gate import Gate, TrainingHistory
from generators.flow.noise import Noise
from generators.flow.path import interpolate
from generators.flow.rows import FlowRows
from generators.flow.schedule import Schedule
from generators.flow.velocity import Velocity


@torch.enable_grad()
def learn(
    velocity: Velocity,
    rows: FlowRows,
    validation: FlowRows | None,
    schedule: Schedule,
    *,
    seed: int = 0,
    label: str | None = None,
) -> TrainingHistory:
    """Train a velocity, and load the kept weights into it.

    Parameters
    ----------
    velocity : Velocity
        Velocity to train in place.
    rows : FlowRows
        Training networks.
    validation : FlowRows or None
        Held-out networks; their loss decides which weights are kept.
    schedule : Schedule
        Settings of the training.
    seed : int
        Seed of noise, times and batches. Initial weights and dropout use the global random
        state of torch, which the caller seeds.
    label : str, optional
        Start of the progress line; None: no progress.

    Raises
    ------
    CatalogError
        If the loss is no longer finite.
    """
    draw = torch.Generator().manual_seed(seed)
    n, k = rows.codes.shape
    batch = min(schedule.batch_size, n)
    zero = torch.zeros(1, 1)
    source = Noise(k, velocity.spread, draw)
    fixed = source.fresh(n) if schedule.source == "fixed" else None
    of_data, of_noise = _batches(n, batch, draw), _batches(n, batch, draw)
    optimizer = torch.optim.AdamW(
        velocity.parameter_groups(),
        lr=schedule.lr,
        betas=schedule.betas,
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    gate = Gate(velocity, validation, schedule, seed)
    progress = Progress(schedule.iterations, "steps", label) if label else None
    velocity.train()
    done = 0
    for done in range(1, schedule.iterations + 1):
        data, features = rows.take(next(of_data))
        noise = source.rows(batch) if fixed is None else fixed[next(of_noise)]
        noise = velocity.start.scale(zero) * noise
        noise = coupled(noise, data, schedule.coupling, features)
        t = schedule.draw_times(batch, draw)
        x = interpolate(noise, data, t)
        if schedule.sigma:
            x = x + schedule.sigma * torch.randn(batch, k, generator=draw)
        if features is not None:
            features = rows.dropped(features, schedule.dropout, draw)
        for group in optimizer.param_groups:
            group["lr"] = group["share"] * schedule.rate(done - 1)
        loss = ((velocity(x, t, features) - (data - noise)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        if schedule.clip is not None:
            torch.nn.utils.clip_grad_norm_(velocity.parameters(), schedule.clip)
        if gate.stops(done, float(loss.detach()), optimizer):
            break
        if progress:
            progress.update(done)
    if progress:
        progress.close(done)
    gate.restore()
    velocity.eval()
    return gate.curve


def _batches(n: int, size: int, draw: torch.Generator) -> Iterator[Tensor]:
    """Yield rows of batches, shuffled in each epoch, without incomplete batches."""
    while True:
        yield from torch.randperm(n, generator=draw)[: n - n % size].split(size)
