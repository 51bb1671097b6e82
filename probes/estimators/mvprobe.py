"""MVProbe: four standardised views of a weight matrix, of first and second order."""

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

    n_probes: int = 64
    n_projections: int = 64
    n_representation: int = 256
    lr: float = 3e-4

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
