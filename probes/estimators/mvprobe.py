"""MVProbe: four standardised views of a weight matrix, of first and second order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from catalog import Layout
from probes.learning.learnt import LearntProbe

if TYPE_CHECKING:
    from torch import nn

    from probes.learning.encoders import Shape


class MVProbe(LearntProbe):
    """Probes X U, X Xᵀ W, Xᵀ V and Xᵀ X Z, standardised for each network [1]_.

    Parameters
    ----------
    task, layout, layer
        See `Probe`. Several layers have encoders of their own; their embeddings are
        summed with learnt weights.
    n_probes, n_projections : int, default=64
        Probes of each view, and what it is projected to.
    n_representation : int, default=256
        Size of the embedding.
    root, scale, cores, epochs, batch_size, lr, weight_decay, evaluate_every, validation,
    patience, precision, random_state, resume, verbose
        See `LearntProbe`.

    See Also
    --------
    MVProbe.paper : as published.

    Notes
    -----
    X Xᵀ and Xᵀ X do not change while probes are learnt: they are multiplied out once,
    where they take at most `probes.learning.resident.GRAM_BYTES`, and each view is one
    product. Low-rank updates are multiplied factor by factor.

    References
    ----------
    .. [1] "What Linear Probes Miss", 2026, arXiv:2605.23410. Differs: the root and the
       scale are taken away first, sizes are smaller, the last epoch is evaluated too.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(40, 6))
    >>> MVProbe(epochs=2).fit(X, X[:, 0]).predict(X[:3]).shape
    (3,)
    """

    name = "mvprobe"
    summary = "four standardised views of a matrix, of first and second order (MVProbe)"
    second_order = True

    def __init__(
        self,
        task: str = "regression",
        *,
        layout: Layout | None = None,
        layer: str | Sequence[str] | None = None,
        n_probes: int = 64,
        n_projections: int = 64,
        n_representation: int = 256,
        root: Any = "mean",
        scale: str | None = "global",
        cores: int | None = None,
        epochs: int = 500,
        batch_size: int = 128,
        lr: float = 3e-4,
        weight_decay: float = 1e-5,
        evaluate_every: int = 25,
        validation: float = 0.125,
        patience: int | None = None,
        precision: str = "float32",
        random_state: int = 0,
        resume: str | Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.task = task
        self.layout = layout
        self.layer = layer
        self.n_probes = n_probes
        self.n_projections = n_projections
        self.n_representation = n_representation
        self.root = root
        self.scale = scale
        self.cores = cores
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.evaluate_every = evaluate_every
        self.validation = validation
        self.patience = patience
        self.precision = precision
        self.random_state = random_state
        self.resume = resume
        self.verbose = verbose

    @classmethod
    def paper(cls, task: str = "classification", **params: Any) -> Self:
        """As published: raw weights, 128/128/512, Adam at 3e-4, 3,000 epochs."""
        published = {
            "n_probes": 128, "n_projections": 128, "n_representation": 512,
            "epochs": 3000, "root": None, "scale": None,
        }  # fmt: skip
        return cls(task, **{**published, **params})

    def _encoder(self) -> Callable[[Shape], nn.Module]:
        from probes.learning.encoders import MVProbeEncoder

        sizes = (self.n_probes, self.n_projections, self.n_representation)
        return lambda shape: MVProbeEncoder(shape, *sizes)
