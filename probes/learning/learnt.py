"""Probes that gradient descent learns: what ProbeX, MVProbe and their like share."""

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
_FREE = (
    "resume", "verbose", "epochs", "evaluate_every", "patience", "layout", "root",
    "encoder",
)  # fmt: skip
"""Parameters that may differ when a fit goes on, or whose effect is compared instead."""
_BLOCK = 32
"""Networks that are predicted at once."""


@dataclass(eq=False, repr=False)
class LearntProbe(Probe):
    """A probe with encoders and a head; subclasses say which encoder.

    Parameters
    ----------
    root : {"mean"}, ndarray of shape (d,) or None, default="mean"
        What is subtracted from every network; see `probes.exact.centring`.
    scale : {"global", "sample"} or None, default="global"
        What they are divided by.
    cores : int, optional
        Learn on cores of so many rows and columns, in bases that exact ridge gives from
        the training share; see `probes.learning.bases`. Default: on whole matrices.
    epochs, batch_size : int
    lr : float
        Of Adam.
    weight_decay : float
        L2 penalty in the gradient of Adam.
    evaluate_every : int
        Epochs between evaluations on the validation share; the best weights are kept.
    validation : float, default=0.125
        Share of the groups that is held out to choose them; 0: the last ones are kept.
    patience : int, optional
        Evaluations without a better score after which it stops. Default: never.
    precision : {"float32", "bfloat16"}, default="float32"
        Of the layer in memory and of products. bfloat16 takes half the memory, and some
        processors multiply it several times as fast; it needs a root, since raw weights
        of one tree differ by less than it resolves.
    random_state : int, default=0
        Of the initial weights, the held-out groups and the order of networks.
    resume : str or Path, optional
        State file of a fit that can be killed and goes on; see `probes.learning.descent`.
    verbose : bool, default=False
        Progress on stderr.

    Attributes
    ----------
    curve_ : dict of str to ndarray
        ``epoch``, ``train_loss``, ``validation_loss``, ``validation_score`` (accuracy; of
        a regression 1 - MSE over the variance of the training targets).
    seen_ : tuple of Centring or Bases
        How every layer is seen.
    weights_ : dict of str to ndarray
        Of the network.
    """

    second_order: ClassVar[bool] = False
    """Whether the encoder multiplies by Gram matrices."""

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
        """Makes the encoder of a matrix."""

    def embed(self, X: Array) -> Array:
        """Embeddings (n, n_representation) of weights X (n, d)."""
        return self._forward(self._checked(X), "embed")

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        import torch

        from probes.learning.descent import fit_by_descent

        train, held = self._split(groups)
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
            rows = torch.from_numpy(held)
            outputs = self._outputs(network, batches, rows)
            lost = criterion(torch.from_numpy(outputs), encoded[rows].double())
            return self._validation_score(outputs, y[held]), float(lost)

        found = fit_by_descent(
            network, loss, score, torch.from_numpy(train), self._descent(len(held)),
            resume=self.resume, fingerprint=self._fingerprint(X, y, train),
            label=self.name if self.verbose else None,
        )  # fmt: skip
        self.curve_ = found.arrays()
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
        """Refuse parameters that cannot be, whatever the weights are."""
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
                "bfloat16 has 8 bits, fewer than what tells raw weights of one tree apart. "
                "Pass root='mean', or precision='float32'."
            )

    def _split(self, groups: Array) -> tuple[Array, Array]:
        """Training rows and held-out rows, of different groups."""
        n = int(groups.max()) + 1
        if not self.validation:
            return np.arange(len(groups)), np.arange(0)
        if n < 2:
            raise ValueError(
                "All networks are of one group, so that none can be held out to choose a "
                "checkpoint. Pass validation=0 to keep the last one."
            )
        draw = np.random.default_rng([self.random_state, 1])
        count = min(max(round(self.validation * n), 1), n - 1)
        held = np.isin(groups, draw.permutation(n)[:count])
        return np.flatnonzero(~held), np.flatnonzero(held)

    def _standard(self, y: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of values; of classes 0 and 1."""
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
        """What a network gives for rows of batches."""
        import torch

        with torch.no_grad(), self._autocast():
            parts = [call(batches[some]).float() for some in rows.split(self.batch_size)]
        return torch.cat(parts).numpy().astype(np.float64)

    def _forward(self, X: Array, method: str) -> Array:
        """Outputs of the fitted network; `_BLOCK` networks are copied at once.

        In float64: of float32 the last digits depend on how many networks come together.
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

    def _descent(self, held: int) -> Any:
        from probes.learning.descent import Descent

        return Descent(
            self.epochs, self.batch_size, self.lr, self.weight_decay,
            self.evaluate_every if held else 0, self.patience, self.random_state,
        )  # fmt: skip

    def _fingerprint(self, X: Array, y: Array, train: Array) -> str:
        """Of what a resumed fit must share with the one that was killed."""
        if self.resume is None:
            return ""
        free = (
            "resume",
            "verbose",
            "epochs",
            "evaluate_every",
            "patience",
            "layout",
            "root",
        )
        params = {k: v for k, v in self.get_params(deep=False).items() if k not in free}
        digest = blake3(json.dumps(params, sort_keys=True, default=str).encode())
        for values in (y, train, *_arrays(self.seen_)):
            digest.update(b"none" if values is None else values.tobytes())
        for i in range(0, len(X), 64):
            digest.update(X[i : i + 64].tobytes())
        return digest.hexdigest()


def _arrays(seen: tuple[Centring | Bases, ...]) -> Iterator[Array | None]:
    for one in seen:
        yield from (one.left, one.right) if isinstance(one, Bases) else (one.root,)


def _binary(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional as F

    return F.binary_cross_entropy_with_logits(outputs, y)
