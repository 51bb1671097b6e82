"""Which noise goes to which network of a batch.

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
"""Cost, in parts of k, of giving noise to a network whose features are 1 apart."""


def coupled(
    noise: Tensor, data: Tensor, coupling: Coupling, features: Tensor | None = None
) -> Tensor:
    """The noise (b, k), reordered for the data (b, k).

    "optimal_transport" takes the order with the least sum of squared distances. With
    features (b, f) of conditions, noise keeps to networks with nearly its own: else the
    noise of a condition would no longer be normal, as it is when sampling [2]_.

    References
    ----------
    .. [2] Cheng and Schwing, 2025, arXiv:2503.10636. Differs: one fixed weight.
    """
    if coupling == "independent":
        return noise
    # Of |x - y|^2 only the product depends on the order.
    gain = (data @ noise.T).double()
    if features is not None:
        apart = torch.cdist(features, features).double() ** 2
        gain -= ACROSS * data.shape[1] / 2 * apart
    _, order = linear_sum_assignment(gain.numpy(), maximize=True)
    return noise[torch.from_numpy(order)]
