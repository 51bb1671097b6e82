"""Batch normalisation of n networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from zoo.stacked.grouped_convolution import apart, channels_side_by_side

MOMENTUM = 0.1
"""Share of the batch in the running statistics after a step."""

EPSILON = 1e-5
"""Added to variances."""


def batch_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    *,
    training: bool = False,
) -> Tensor:
    """Normalise every channel of every network.

    In training by the mean and the biased variance of its own batch; the running
    statistics then move in place, towards the mean and the unbiased variance. Otherwise
    by the running statistics. As `torch.nn.BatchNorm2d` with its defaults.

    Parameters
    ----------
    x : Tensor of shape (n, b, c, h, w)
        Batches of images.
    weight, bias : Tensor of shape (n, c)
        Scales and shifts.
    running_mean, running_var : Tensor of shape (n, c)
        Running statistics.
    training : bool, default=False
        Whether the batch's statistics are used.

    Returns
    -------
    Tensor of shape (n, b, c, h, w)

    Raises
    ------
    ValueError
        In training, if a channel has one value only.
    """
    n = weight.shape[0]
    # The channels of all networks side by side are channels like any others. Statistics
    # are copied because rows of a stack's matrix are no contiguous vector.
    mean, var = (
        s.detach().clone(memory_format=torch.contiguous_format).view(-1)
        for s in (running_mean, running_var)
    )
    out = functional.batch_norm(
        channels_side_by_side(x),
        mean,
        var,
        weight.flatten(),
        bias.flatten(),
        training,
        MOMENTUM,
        EPSILON,
    )
    if training:
        with torch.no_grad():
            running_mean.copy_(mean.view_as(running_mean))
            running_var.copy_(var.view_as(running_var))
    return apart(out, n)
