"""One residual network as an ordinary torch module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.stacked.batch_norm import EPSILON, MOMENTUM


@dataclass(frozen=True)
class Block:
    """Sizes of a residual block.

    Attributes
    ----------
    name : str
        Name in the layout, such as ``layer1.0``.
    kernels : tuple of (int, int, int, int)
        Input channels, output channels, kernel side and stride of each convolution on
        the branch.
    inputs, outputs, stride : int
        Input channels, output channels and stride of the whole block.
    projected : bool
        Whether the shortcut is a 1x1 convolution.
    """

    name: str
    kernels: tuple[tuple[int, int, int, int], ...]
    inputs: int
    outputs: int
    stride: int
    projected: bool


class UncountedBatchNorm(nn.Module):
    """`torch.nn.BatchNorm2d` without its counter of batches.

    The counter is an integer that torch reads only if there is no momentum.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch in training, else by the running statistics."""
        return functional.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            MOMENTUM,
            EPSILON,
        )


class ResidualBlock(nn.Module):
    """Convolutions with normalisation, added to a shortcut."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.depth = len(block.kernels)
        for k, (inputs, outputs, side, stride) in enumerate(block.kernels, 1):
            conv = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)
            self.add_module(f"conv{k}", conv)
            self.add_module(f"bn{k}", UncountedBatchNorm(outputs))
        self.relu = nn.ReLU()
        if block.projected:
            self.downsample = nn.Sequential(
                nn.Conv2d(block.inputs, block.outputs, 1, block.stride, bias=False),
                UncountedBatchNorm(block.outputs),
            )
        else:
            self.downsample = nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        """Compute the features after the block."""
        y = x
        for k in range(1, self.depth + 1):
            y = self.get_submodule(f"bn{k}")(self.get_submodule(f"conv{k}")(y))
            y = self.relu(y) if k < self.depth else y
        out: Tensor = self.relu(y + self.downsample(x))
        return out


class ResNetModule(nn.Module):
    """A residual network with the tensor names of torchvision."""

    def __init__(
        self, channels: int, width: int, stages: Sequence[Sequence[Block]], classes: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = UncountedBatchNorm(width)
        self.relu = nn.ReLU()
        for k, blocks in enumerate(stages, 1):
            self.add_module(f"layer{k}", nn.Sequential(*map(ResidualBlock, blocks)))
        self.stages = len(stages)
        self.fc = nn.Linear(stages[-1][-1].outputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits (b, classes) of images (b, channels, height, width)."""
        x = self.relu(self.bn1(self.conv1(x)))
        for k in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{k}")(x)
        out: Tensor = self.fc(x.mean((2, 3)))
        return out
