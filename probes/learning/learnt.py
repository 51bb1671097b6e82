"""Base class of probes that are trained by gradient descent, such as ProbeX and MVProbe."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from blake3 import blake3

from catalog.dtypes import Array
from probes.exact.centring import Centring, Root, Scale
from probes.learning.bases import Bases, ridge_bases
from probes.probe import Probe

if TYPE_CHECKING:
    import torch
    from torch import nn

    from probes.learning.encoders import Shape
    from probes.learning.resident import ResidentBatches

Precision = Literal["float32", "bfloat16"]
PRECISIONS = get_args(Precision)
_FREE = ("resume", "verbose", "epochs", "evaluate_every", "patience", "layout", "root")
"""Parameters that may differ when a fit resumes, or whose effect is compared instead."""
_BLOCK = 32
"""Number of networks that are predicted at once."""


@dataclass(eq=False, repr=False)
class LearntProbe(Probe):
    """Probe with an encoder per layer and a head; subclasses define the encoder.

    Parameters
    ----------
    root : {"mean"}, ndarray of shape (d,) or None, default="mean"
        Weights that are subtracted from every network; see `probes.exact.centring`.
    scale : {"global", "sample"} or None, default="global"
        Divisor of the centred weights; see `probes.exact.centring`.
    cores : int, optional
        Number of rows and columns of the cores to train on, in bases that exact ridge
        fits to the training share; see `probes.learning.bases`. Default: whole matrices.
    epochs, batch_size : int
        Number of epochs, and of networks in a batch.
    lr : float
        Learning rate of Adam.
    weight_decay : float
        L2 penalty in the gradient of Adam.
    evaluate_every : int
        Number of epochs between evaluations on the validation share; the best weights are
        kept.
    validation : float, default=0.125
        Share of the groups that is held out to choose the best weights; 0: the last
        weights are kept.
    patience : int, optional
        Number of evaluations without a better score after which training stops. Default:
        never.
    precision : {"float32", "bfloat16"}, default="float32"
        Precision of the layer in memory and of products. bfloat16 takes half the memory,
        and some processors multiply it several times as fast. It needs a root, since raw
        weights of one tree differ by less than its resolution.
    random_state : int, default=0
        Seed of the initial weights, the held-out groups and the order of networks.
    resume : str or Path, optional
        State file from which an interrupted fit resumes; see `probes.learning.descent`.
    verbose : bool, default=False
        Show progress on stderr.

    Attributes
    ----------
    curve_ : dict of str to ndarray
        ``epoch``, ``train_loss``, ``validation_loss``, ``validation_score`` (accuracy, or
        for regression 1 - MSE over the variance of the training targets).
    seen_ : tuple of Centring or Bases
        Centring or bases of every layer.
    weights_ : dict of str to ndarray
        Weights of the trained network.
    """

    second_order: ClassVar[bool] = False
    """True if the encoder multiplies by Gram matrices."""

    root: Root = "mean"
    scale: Scale = "global"
    cores: int | None = None
    epochs: int = 500
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 1e-5
    evaluate_every: int = 25
    validation: float = 0.125
    patience: int | None = None
    precision: Precision = "float32"
    random_state: int = 0
    resume: str | Path | None = None
    verbose: bool = False
    n_representation: int = 128

    @abstractmethod
    def _encoder(self) -> Callable[[Shape], nn.Module]:
        """Return the function that makes the encoder of a matrix of given shape."""

    def embed(self, X: Array) -> Array:
        """Compute embeddings (n, n_representation) of weights X (n, d)."""
        return self._forward(self._checked(X), "embed")

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        import torch

        from probes.learning.descent import fit_by_descent

        train, held_out = self._split(groups)
        self.offset_, self.spread_ = self._standard(y[train])
        encoded = torch.from_numpy(self._standardised(y).astype(np.float32))
        self.seen_ = self._seen(X, y, groups, train)
        batches = self._batches(X)
        network = self._network(y.shape[1])
        criterion = self._criterion()

        def loss(rows: torch.Tensor) -> torch.Tensor:
            with self._autocast():
                outputs = network(batches[rows])
            return criterion(outputs.float(), encoded[rows])

        def score() -> tuple[float, float]:
            rows = torch.from_numpy(held_out)
            outputs = self._outputs(network, batches, rows)
            validation_loss = criterion(torch.from_numpy(outputs), encoded[rows].double())
            return self._validation_score(outputs, y[held_out]), float(validation_loss)

        curve = fit_by_descent(
            network, loss, score, torch.from_numpy(train), self._descent(len(held_out)),
            resume=self.resume, fingerprint=self._fingerprint(X, y, train),
            label=self.name if self.verbose else None,
        )  # fmt: skip
        self.curve_ = curve.arrays()
        self._keep(network)

    def _scores(self, X: Array) -> Array:
        return self._forward(X, "forward") * self.spread_ + self.offset_

    def _seen(
        self, X: Array, y: Array, groups: Array, train: Array
    ) -> tuple[Centring | Bases, ...]:
        root, scale = self.root, self.scale
        if self.cores is None:
            return tuple(Centring.of(X, layer, root, scale) for layer in self.layers_)
        return ridge_bases(X, y, groups, train, self.layers_, root, scale, self.cores)

    def check(self) -> None:
        """Check the parameters without the weights; raise `ValueError` if invalid."""
        super().check()
        for name in ("epochs", "batch_size", "evaluate_every", "cores"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(
                    f"The {name} of {type(self).__name__} must be 1 or more. Got {value!r}."
                )
        if not 0 <= self.validation < 1:
            raise ValueError(
                f"The validation share must be in [0, 1). Got {self.validation!r}."
            )
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"The precision must be one of {PRECISIONS}. Got {self.precision!r}."
            )
        if self.precision == "bfloat16" and self.root is None:
            raise ValueError(
                "bfloat16 has 8 significant bits, too few to distinguish raw weights of "
                "one tree. Pass root='mean', or precision='float32'."
            )

    def _split(self, groups: Array) -> tuple[Array, Array]:
        """Split rows into training and held-out rows of different groups."""
        n = int(groups.max()) + 1
        if not self.validation:
            return np.arange(len(groups)), np.arange(0)
        if n < 2:
            raise ValueError(
                "All networks are one group, so no group can be held out to choose a "
                "checkpoint. Pass validation=0 to keep the last checkpoint."
            )
        rng = np.random.default_rng([self.random_state, 1])
        count = min(max(round(self.validation * n), 1), n - 1)
        held_out = np.isin(groups, rng.permutation(n)[:count])
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def _standard(self, y: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of values; 0 and 1 for classes."""
        if self.targets_.kind != "regression":
            return np.zeros(y.shape[1]), np.ones(y.shape[1])
        return y.mean(0), y.std(0)

    def _standardised(self, y: Array) -> Array:
        return (y - self.offset_) / np.where(self.spread_ > 0, self.spread_, 1.0)

    def _criterion(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        from torch.nn import functional as F

        kind = self.targets_.kind
        if kind == "regression":
            return F.mse_loss
        return F.cross_entropy if kind == "multiclass" else _binary

    def _validation_score(self, outputs: Array, y: Array) -> float:
        if self.targets_.kind == "regression":
            return 1 - float(((self._standardised(y) - outputs) ** 2).mean())
        if self.targets_.kind == "multiclass":
            return float((outputs.argmax(1) == y.argmax(1)).mean())
        return float(((outputs > 0) == y).mean())

    def _batches(self, X: Array) -> ResidentBatches:
        import torch

        from probes.learning.resident import Resident, ResidentBatches

        dtype = getattr(torch, self.precision)
        return ResidentBatches(
            [Resident.of(X, s, dtype, second_order=self.second_order) for s in self.seen_]
        )

    def _network(self, width: int) -> nn.Module:
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            return self._build(width)

    def _build(self, width: int) -> nn.Module:
        from probes.learning.encoders import EncoderNetwork

        network = EncoderNetwork(
            self._encoder(), self._shapes(), self.n_representation, width
        )
        if self.targets_.kind == "regression":
            network.start_at_zero()
        return network

    def _shapes(self) -> list[Shape]:
        return [
            seen.shape if isinstance(seen, Bases) else seen.layer.shape
            for seen in self.seen_
        ]

    def _keep(self, network: nn.Module) -> None:
        self.weights_ = {
            name: value.numpy().copy() for name, value in network.state_dict().items()
        }

    def _autocast(self) -> torch.autocast:
        import torch

        low = self.precision == "bfloat16"
        return torch.autocast("cpu", torch.bfloat16, enabled=low)

    def _outputs(self, call: Any, batches: ResidentBatches, rows: torch.Tensor) -> Array:
        """Compute the outputs of a network for rows of batches."""
        import torch

        with torch.no_grad(), self._autocast():
            parts = [call(batches[batch]).float() for batch in rows.split(self.batch_size)]
        return torch.cat(parts).numpy().astype(np.float64)

    def _forward(self, X: Array, method: str) -> Array:
        """Compute outputs of the fitted network, copying `_BLOCK` networks at once.

        It uses float64, as the last digits of float32 depend on the size of the batch.
        """
        import torch

        from probes.learning.resident import Resident

        with torch.device("meta"):
            network = self._network(self.targets_.width)
        values = {k: torch.from_numpy(v).double() for k, v in self.weights_.items()}
        network.load_state_dict(values, assign=True)
        parts = []
        for start in range(0, len(X), _BLOCK):
            block = X[start : start + _BLOCK].astype(np.float64)
            rows = torch.arange(len(block))
            layers = [
                Resident.of(block, s, torch.float64, second_order=False).take(rows)
                for s in self.seen_
            ]
            with torch.no_grad():
                parts.append(getattr(network, method)(layers).numpy())
        return np.concatenate(parts)

    def _descent(self, n_held_out: int) -> Any:
        from probes.learning.descent import Descent

        return Descent(
            self.epochs, self.batch_size, self.lr, self.weight_decay,
            self.evaluate_every if n_held_out else 0, self.patience, self.random_state,
        )  # fmt: skip

    def _fingerprint(self, X: Array, y: Array, train: Array) -> str:
        """Return a fingerprint of what a resumed fit must share with the first fit."""
        if self.resume is None:
            return ""
        params = {k: v for k, v in self.get_params(deep=False).items() if k not in _FREE}
        digest = blake3(json.dumps(params, sort_keys=True, default=str).encode())
        for values in (y, train, *_arrays(self.seen_)):
            digest.update(b"none" if values is None else values.tobytes())
        for i in range(0, len(X), 64):
            digest.update(X[i : i + 64].tobytes())
        return digest.hexdigest()


def _arrays(seen: tuple[Centring | Bases, ...]) -> Iterator[Array | None]:
    for view in seen:
        yield from (view.left, view.right) if isinstance(view, Bases) else (view.root,)


def _binary(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional as F

    return F.binary_cross_entropy_with_logits(outputs, y)
