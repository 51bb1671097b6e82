"""Convolutions of n networks as one convolution in n groups.

Images lie in memory as ``(b, h, w, n, c)``, which is channels-last with the channels of
all networks side by side. Measured on residual networks of 4 to 64 channels and 16 to 2
pixels a side: 1.3 to 4 times as fast as patches and products (`conv2d`), which copy each
pixel nine times, and never slower than one network at a time. `conv2d` is faster for 5x5
kernels that a pool follows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def channels_side_by_side(x: Tensor) -> Tensor:
    """Return ``(n, b, c, h, w)`` in any layout as channels-last ``(b, n * c, h, w)``."""
    x = x.transpose(0, 1).flatten(1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def apart(x: Tensor, n: int) -> Tensor:
    """View ``(b, n * c, h, w)`` as ``(n, b, c, h, w)``."""
    return x.unflatten(1, (n, -1)).transpose(0, 1)


def grouped_conv2d(x: Tensor, w: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """Convolve the images of every network, without a bias.

    Parameters
    ----------
    x : Tensor of shape (n, b, c, h, w)
        Batches of images.
    w : Tensor of shape (n, o, c, kh, kw)
        Kernels.
    stride : int, default=1
        Pixels between two positions of the kernels.
    padding : int, default=0
        Pixels of zeros on each side.

    Returns
    -------
    Tensor of shape (n, b, o, rows, columns)
    """
    n = w.shape[0]
    if w.shape[-2:] == (1, 1) and stride > 1 and not padding:
        # Equal to the strided convolution, whose weight gradient in oneDNN writes beyond
        # its memory in channels-last (torch 2.13, 1x1, 2 to 4 channels, 48 pixels).
        x, stride = x[..., ::stride, ::stride], 1
    out = functional.conv2d(
        channels_side_by_side(x), w.flatten(0, 1), None, stride, padding, groups=n
    )
    return apart(out, n)
