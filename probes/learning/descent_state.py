"""State of a training run, as a file of the container `catalog.fitted.file`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from catalog import CatalogError
from catalog.dtypes import Array
from catalog.fitted.file import Kind
from catalog.formats.format import Tensor as Stored

_INSTEAD = "pass another file name as resume="
_STATE = Kind(
    "descent", "state of a fit", 1, "Pass another file name as resume=.", _INSTEAD
)
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass
class Curve:
    """Learning curve: losses and scores of the evaluations.

    Attributes
    ----------
    epoch : list of int
        Number of epochs done at each evaluation.
    train_loss : list of float
        Mean loss over the steps of the epoch.
    validation_score, validation_loss : list of float
        Score and loss on held-out networks; of equal scores the lower loss is better.
    """

    epoch: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)

    @property
    def best(self) -> int:
        """Index of the best evaluation."""
        losses = np.negative(self.validation_loss)
        ranks = list(zip(self.validation_score, losses, strict=True))
        return ranks.index(max(ranks))

    def arrays(self) -> dict[str, Array]:
        """Return the columns of the curve as arrays."""
        return {name: np.array(values) for name, values in vars(self).items()}


@dataclass
class DescentState:
    """State of training besides the network and its optimiser.

    Attributes
    ----------
    epoch : int
        Number of epochs done.
    curve : Curve
        Losses and scores so far.
    best : dict of str to Tensor, optional
        Weights with the best score.
    """

    epoch: int = 0
    curve: Curve = field(default_factory=Curve)
    best: dict[str, Tensor] | None = None


def write_state(
    path: Path,
    state: DescentState,
    fingerprint: str,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state to a file; the previous file stays until the new one is complete."""
    groups = {"weight": network.state_dict(), "best": state.best or {}}
    for moment in _MOMENTS:
        groups[moment] = {
            name: optimizer.state[p][moment]
            for name, p in network.named_parameters()
            if p in optimizer.state
        }
    tensors = {
        f"{group}/{name}": Stored(value.numpy(), "float32")
        for group, values in groups.items()
        for name, value in values.items()
    }
    body = {
        "fingerprint": fingerprint,
        "epoch": state.epoch,
        "curve": vars(state.curve),
    }
    _STATE.write(path, body, tensors)


def read_state(
    path: Path, fingerprint: str, network: nn.Module, optimizer: torch.optim.Optimizer
) -> DescentState:
    """Read a state, and load network and optimiser from it.

    Raises
    ------
    ShardCorrupt
        If bytes of the file have changed since it was written.
    CatalogError
        If the file holds something else, or the state of another fit.
    """
    body, tensors = _STATE.read(path)
    with _STATE.as_written(path):
        if body["fingerprint"] != fingerprint:
            raise CatalogError(
                f"{path} holds the state of a fit with other networks, targets or "
                "settings (epochs, evaluate_every and patience may differ). Pass "
                "another file name as resume=, or delete the file."
            )
        groups: dict[str, dict[str, Tensor]] = {}
        for full, values in tensors.items():
            group, name = full.split("/", 1)
            groups.setdefault(group, {})[name] = torch.from_numpy(values.copy())
        network.load_state_dict(groups["weight"])
        for name, p in network.named_parameters():
            if name in groups.get("step", {}):
                optimizer.state[p] = {moment: groups[moment][name] for moment in _MOMENTS}
        return DescentState(body["epoch"], Curve(**body["curve"]), groups.get("best"))
