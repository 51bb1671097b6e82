"""Batch normalisation of n networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from zoo.stacked.grouped_convolution import apart, channels_side_by_side

MOMENTUM = 0.1
"""Weight of a batch in the update of the running statistics."""

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

    In training, the statistics are the mean and the biased variance of the batch, and the
    running statistics are updated in place with the mean and the unbiased variance.
    Otherwise they are the running statistics. Results equal those of
    `torch.nn.BatchNorm2d` with its default settings.

    Parameters
    ----------
    x : Tensor of shape (n, b, c, h, w)
        Batches of images.
    weight, bias : Tensor of shape (n, c)
        Scales and shifts.
    running_mean, running_var : Tensor of shape (n, c)
        Running statistics.
    training : bool, default=False
        Whether to use, and to record, the statistics of the batch.

    Returns
    -------
    Tensor of shape (n, b, c, h, w)

    Raises
    ------
    ValueError
        If a channel has only one value in training.
    """
    n = weight.shape[0]
    # The channels of all networks are the channels of one wide batch. Statistics are
    # copied because the columns of a stack's matrix are not contiguous.
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
