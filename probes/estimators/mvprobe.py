"""MVProbe: four standardised first- and second-order views of a weight matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from probes.learning.learnt import LearntProbe

if TYPE_CHECKING:
    from torch import nn

    from probes.learning.encoders import Shape


@dataclass(eq=False, repr=False)
class MVProbe(LearntProbe):
    """Estimator on the views X U, X Xᵀ W, Xᵀ V and Xᵀ X Z, standardised per network [1]_.

    Parameters
    ----------
    task, layout, layer
        See `Probe`. Each of several layers has its own encoder; the embeddings are summed
        with learnt weights.
    n_probes, n_projections : int, default=64
        Number of probes of each view, and number of values it is projected to.
    n_representation : int, default=256
        Size of the embedding.
    root, scale, cores, epochs, batch_size, lr, weight_decay, evaluate_every, validation,
    patience, precision, random_state, resume, verbose
        See `LearntProbe`.

    See Also
    --------
    MVProbe.paper : Settings as published.

    Notes
    -----
    X Xᵀ and Xᵀ X do not change during training. They are computed once if they take at
    most `probes.learning.resident.GRAM_BYTES`, and then each view is one product. Low-rank
    updates are multiplied factor by factor.

    References
    ----------
    .. [1] "What Linear Probes Miss", 2026, arXiv:2605.23410. Differences: weights are
       centred and scaled first, sizes are smaller, and the last epoch is evaluated too.

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

    n_probes: int = 64
    n_projections: int = 64
    n_representation: int = 256
    lr: float = 3e-4

    @classmethod
    def paper(cls, task: str = "classification", **params: Any) -> Self:
        """Return the published setup: raw weights, 128/128/512, Adam 3e-4, 3,000 epochs."""
        published = {
            "n_probes": 128, "n_projections": 128, "n_representation": 512,
            "epochs": 3000, "root": None, "scale": None,
        }  # fmt: skip
        return cls(task, **{**published, **params})

    def _encoder(self) -> Callable[[Shape], nn.Module]:
        from probes.learning.encoders import MVProbeEncoder

        sizes = (self.n_probes, self.n_projections, self.n_representation)
        return lambda shape: MVProbeEncoder(shape, *sizes)
