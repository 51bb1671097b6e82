"""Softmax temperature that minimises the loss of given logits."""

from __future__ import annotations

import torch
from torch import Tensor

COLDEST, HOTTEST = 2.0**-5, 2.0**5
"""Bounds on the temperature: if all predictions are right, the optimum would be 0."""

ROUNDS = 20
"""Number of Newton steps with bisection; the loss is convex in the inverse temperature."""


@torch.no_grad()
def inverse_temperature(logits: Tensor, labels: Tensor, counted: Tensor) -> Tensor:
    """Return the factor of the logits that minimises the mean cross-entropy.

    Parameters
    ----------
    logits : Tensor of shape (n, b, ..., classes)
        Logits of n networks.
    labels : Tensor of shape (n, b, ...)
        Labels.
    counted : Tensor of shape (n, b)
        Mask of the samples to use.

    Returns
    -------
    Tensor of shape (n,)
        Inverse temperature of every network, from 1 / `HOTTEST` to 1 / `COLDEST`; NaN if
        a logit of a sample in the mask is not finite.
    """
    n, classes = logits.shape[0], logits.shape[-1]
    inner = logits.shape[2:-1].numel()
    mask = counted.repeat_interleave(inner, 1)
    # Classes come first, because reductions over a short last axis do not vectorise.
    z = logits.reshape(n, -1, classes).permute(2, 0, 1).contiguous()
    label_logits = z.gather(0, labels.reshape(1, n, -1)).squeeze(0)
    non_finite = ~(z.isfinite().all(0) | ~mask).all(1)
    low = torch.full((n,), 1 / HOTTEST, device=z.device)
    high = torch.full((n,), 1 / COLDEST, device=z.device)
    beta = torch.ones(n, device=z.device)
    count = mask.sum(1)
    for _ in range(ROUNDS):
        p = torch.softmax(z * beta[:, None], 0)
        mean = (p * z).sum(0)
        slopes = torch.where(mask, mean - label_logits, 0.0)
        curvatures = torch.where(mask, (p * z.square()).sum(0) - mean.square(), 0.0)
        slope, curvature = slopes.sum(1) / count, curvatures.sum(1) / count
        falls = slope <= 0  # the slope may underflow to 0 if all predictions are right
        low = torch.where(falls, beta, low)
        high = torch.where(falls, high, beta)
        newton = beta - slope / curvature
        inside = (newton > low) & (newton < high)
        beta = torch.where(inside, newton, (low * high).sqrt())
    return torch.where(non_finite, torch.nan, beta)
