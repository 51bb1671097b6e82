"""ProbeX: learnt probes of a weight matrix with a rectified projection of each probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from probes.learning.learnt import LearntProbe

if TYPE_CHECKING:
    from torch import nn

    from probes.learning.encoders import Shape


@dataclass(eq=False, repr=False)
class ProbeX(LearntProbe):
    """Estimator y = T Σ_l M_l ReLU(Vᵀ X u_l), trained by Adam [1]_.

    Parameters
    ----------
    task, layout, layer
        See `Probe`. Each of several layers has its own encoder; the embeddings are summed
        with learnt weights.
    n_probes, n_projections, n_representation : int, default=128
        Sizes r_U, r_V and r_T of [1]_.
    relu : bool, default=True
        Apply the ReLU. False: a linear, Tucker-factorised dense expert.
    root, scale, cores, epochs, batch_size, lr, weight_decay, evaluate_every, validation,
    patience, precision, random_state, resume, verbose
        See `LearntProbe`.

    See Also
    --------
    ProbeX.paper : Settings as published.

    Notes
    -----
    Differences from the published code: weights are centred and scaled first, the last
    epoch is evaluated too, and low-rank updates are multiplied factor by factor.

    References
    ----------
    .. [1] Kahana et al. 2024, arXiv:2410.13569.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(40, 6))
    >>> ProbeX(epochs=2).fit(X, X[:, 0]).predict(X[:3]).shape
    (3,)
    """

    name = "probex"
    summary = "learnt probes of a matrix with one non-linearity (ProbeX)"

    n_probes: int = 128
    n_projections: int = 128
    n_representation: int = 128
    relu: bool = True

    @classmethod
    def paper(cls, task: str = "classification", **params: Any) -> Self:
        """Return the published setup: raw weights, 128/128/128, Adam at 1e-3, 500 epochs.

        The released command line has r_T = 512 as default; the 2.3 M parameters of the
        paper and its scripts correspond to 128.
        """
        return cls(task, **{"root": None, "scale": None, **params})

    def _encoder(self) -> Callable[[Shape], nn.Module]:
        from probes.learning.encoders import ProbeXEncoder

        sizes = (self.n_probes, self.n_projections, self.n_representation)
        return lambda shape: ProbeXEncoder(shape, *sizes, self.relu)
