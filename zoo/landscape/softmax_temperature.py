"""The softmax temperature at which the loss of given logits is least."""

from __future__ import annotations

import torch
from torch import Tensor

COLDEST, HOTTEST = 2.0**-5, 2.0**5
"""Bounds of the temperature: logits without a mistake would be divided by ever less."""

ROUNDS = 20
"""Of Newton's method with bisection; the loss is convex in the inverse temperature."""


@torch.no_grad()
def inverse_temperature(logits: Tensor, labels: Tensor, counted: Tensor) -> Tensor:
    """Factor of the logits that makes the mean cross-entropy least, for every network.

    Parameters
    ----------
    logits : Tensor of shape (n, b, ..., classes)
    labels : Tensor of shape (n, b, ...)
    counted : Tensor of shape (n, b)
        Samples that count.

    Returns
    -------
    Tensor of shape (n,)
        From 1 / `HOTTEST` to 1 / `COLDEST`; NaN where a logit that counts is not finite.
    """
    n, classes = logits.shape[0], logits.shape[-1]
    inner = logits.shape[2:-1].numel()
    mask = counted.repeat_interleave(inner, 1)
    # Classes first: reductions over a short last axis do not vectorise.
    z = logits.reshape(n, -1, classes).permute(2, 0, 1).contiguous()
    own = z.gather(0, labels.reshape(1, n, -1)).squeeze(0)
    dead = ~(z.isfinite().all(0) | ~mask).all(1)
    low = torch.full((n,), 1 / HOTTEST, device=z.device)
    high = torch.full((n,), 1 / COLDEST, device=z.device)
    beta = torch.ones(n, device=z.device)
    count = mask.sum(1)
    for _ in range(ROUNDS):
        p = torch.softmax(z * beta[:, None], 0)
        mean = (p * z).sum(0)
        slopes = torch.where(mask, mean - own, 0.0)
        bends = torch.where(mask, (p * z.square()).sum(0) - mean.square(), 0.0)
        slope, bend = slopes.sum(1) / count, bends.sum(1) / count
        falls = slope <= 0  # 0: of nothing but right answers it is too small to see
        low = torch.where(falls, beta, low)
        high = torch.where(falls, high, beta)
        step = beta - slope / bend
        inside = (step > low) & (step < high)
        beta = torch.where(inside, step, (low * high).sqrt())
    return torch.where(dead, torch.nan, beta)
