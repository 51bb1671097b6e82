"""Coupling of noise and networks within a batch.

References
----------
.. [1] Tong et al., 2024, arXiv:2302.00482; Pooladian et al., 2023, arXiv:2304.14772:
   optimal transport within a batch makes paths straighter and keeps both marginals.
"""

from __future__ import annotations

from typing import Literal

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Coupling = Literal["independent", "optimal_transport"]


ACROSS = 10.0
"""Cost, as a multiple of k, of coupling noise to a network whose features are 1 apart."""


def coupled(
    noise: Tensor, data: Tensor, coupling: Coupling, features: Tensor | None = None
) -> Tensor:
    """Return the noise (b, k), reordered for the data (b, k).

    "optimal_transport" takes the order with the least sum of squared distances. With
    features (b, f) of conditions, noise is only coupled to networks with nearly the
    features that it was drawn for: otherwise the noise of a condition would no longer be
    normal, as it is when sampling [2]_.

    References
    ----------
    .. [2] Cheng and Schwing, 2025, arXiv:2503.10636. Difference: one fixed
       weight, `ACROSS`.
    """
    if coupling == "independent":
        return noise
    # Only the product in |x - y|^2 depends on the order.
    gain = (data @ noise.T).double()
    if features is not None:
        distances = torch.cdist(features, features).double() ** 2
        gain -= ACROSS * data.shape[1] / 2 * distances
    _, order = linear_sum_assignment(gain.numpy(), maximize=True)
    return noise[torch.from_numpy(order)]
