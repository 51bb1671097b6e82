"""Training loop of probes: epochs of Adam, with the best checkpoint kept.

With a state file, training can be resumed bit for bit: the order of an epoch is drawn from
the seed and the number of the epoch, so weights, moments and this number are the whole
state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from catalog.console.progress import Progress
from probes.learning.descent_state import Curve, DescentState, read_state, write_state

PAUSE = 30.0
"""Seconds between two writes of the state."""


@dataclass(frozen=True)
class Descent:
    """Settings of one training run.

    Attributes
    ----------
    epochs, batch_size : int
        Number of epochs, and of networks in a batch.
    lr : float
        Learning rate of Adam.
    weight_decay : float
        L2 penalty that is added to the gradient, as in Adam; not decoupled.
    evaluate_every : int
        Number of epochs between evaluations, which follow the first epoch, every such
        number of epochs, and the last epoch. 0: no evaluation; the last weights are kept.
    patience : int, optional
        Number of evaluations without a better score after which training stops.
    seed : int
        Seed of the order of networks.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    evaluate_every: int
    patience: int | None
    seed: int

    def evaluates(self, epoch: int) -> bool:
        """Return True if the network is evaluated after this number of epochs."""
        if not self.evaluate_every:
            return False
        return (epoch - 1) % self.evaluate_every == 0 or epoch == self.epochs


def fit_by_descent(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    score: Callable[[], tuple[float, float]],
    rows: Tensor,
    descent: Descent,
    *,
    resume: str | Path | None = None,
    fingerprint: str = "",
    label: str | None = None,
) -> Curve:
    """Train the parameters of a network, and leave the best ones in it.

    Parameters
    ----------
    loss : callable
        Function from the rows of a batch to a scalar loss with gradient.
    score : callable
        Function that evaluates the current network on networks outside ``rows``; returns a
        score, of which higher is better, and the loss.
    rows : Tensor of int64
        Training rows.
    resume : str or Path, optional
        State file, which is read if it exists, and written after an epoch once `PAUSE`
        seconds have passed.
    fingerprint : str, optional
        Fingerprint of data and settings; a state with another fingerprint is an error.
    label : str, optional
        Start of the progress line; None: no progress.

    Returns
    -------
    Curve
        Losses and scores of the evaluations.

    Raises
    ------
    ValueError
        If the loss is no longer finite.
    CatalogError
        If the state belongs to another fit.
    KeyboardInterrupt
        If interrupted; the message says how to resume.
    """
    optimizer = torch.optim.Adam(
        network.parameters(), lr=descent.lr, weight_decay=descent.weight_decay, fused=True
    )
    path = None if resume is None else Path(resume)
    state = DescentState()
    if path is not None and path.exists():
        state = read_state(path, fingerprint, network, optimizer)
    bar = Progress(descent.epochs, "epochs", label) if label else None
    saved = time.monotonic()
    try:
        while state.epoch < descent.epochs and not _stale(state.curve, descent.patience):
            train_loss = _epoch(optimizer, loss, rows, descent, state.epoch)
            state.epoch += 1
            _require_finite(train_loss, state.epoch, descent.lr)
            if descent.evaluates(state.epoch):
                _evaluate(state, train_loss, network, score)
            if path is not None and time.monotonic() - saved >= PAUSE:
                write_state(path, state, fingerprint, network, optimizer)
                saved = time.monotonic()
            if bar:
                bar.update(state.epoch)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_resume(path, state.epoch)) from None
    if path is not None:
        write_state(path, state, fingerprint, network, optimizer)
    if bar:
        bar.close(state.epoch)
    if state.best is not None:
        network.load_state_dict(state.best)
    return state.curve


def _epoch(
    optimizer: torch.optim.Optimizer,
    loss: Callable[[Tensor], Tensor],
    rows: Tensor,
    descent: Descent,
    epoch: int,
) -> float:
    order = np.random.default_rng([descent.seed, epoch]).permutation(len(rows))
    total, steps = torch.zeros(()), 0
    for batch in rows[torch.from_numpy(order)].split(descent.batch_size):
        optimizer.zero_grad()
        value = loss(batch)
        value.backward()
        optimizer.step()
        total += value.detach()
        steps += 1
    return float(total) / steps


def _evaluate(
    state: DescentState,
    train_loss: float,
    network: nn.Module,
    score: Callable[[], tuple[float, float]],
) -> None:
    with torch.no_grad():
        validation_score, validation_loss = score()
    curve = state.curve
    curve.epoch.append(state.epoch)
    curve.train_loss.append(train_loss)
    curve.validation_score.append(validation_score)
    curve.validation_loss.append(validation_loss)
    if curve.best == len(curve.epoch) - 1:
        state.best = {name: value.clone() for name, value in network.state_dict().items()}


def _stale(curve: Curve, patience: int | None) -> bool:
    if patience is None or not curve.epoch:
        return False
    return len(curve.epoch) - 1 - curve.best >= patience


def _require_finite(train_loss: float, epoch: int, lr: float) -> None:
    if not np.isfinite(train_loss):
        raise ValueError(
            f"The training loss is {train_loss} in epoch {epoch}: the learning rate is too "
            f"large. Pass a smaller lr, such as lr={lr / 10:g}."
        )


def _how_to_resume(path: Path | None, epoch: int) -> str:
    if path is None:
        return (
            f"{epoch} epochs were done. Pass resume='FILE' to make the next fit resumable."
        )
    return f"{epoch} epochs were done; the same fit resumes from {path}."
