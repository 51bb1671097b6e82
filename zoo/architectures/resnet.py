"""Residual networks for small images, scalable in width: the ResNet-18 and -50 of [1]_.

They are the networks of [2]_ with a stem for small images (a 3x3 convolution of stride 1,
no pool), scaled by the number of channels of the stem, as [1]_ trained them. Tensors have
the names that torchvision gives them. Kernels and the classifier's weights are initialised
by Kaiming's uniform, the classifier's biases by 0.01.

References
----------
.. [1] Schürholt et al., 2025, arXiv:2504.18072. Difference: there are no
   counters ``num_batches_tracked``, which are not read if normalisation has a momentum.
.. [2] He et al., 2016, arXiv:1512.03385.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor, nn

from catalog import Layout, Param
from catalog.dtypes import Array
from zoo.architecture import Architecture, Taps, fan_in_bounds
from zoo.architectures.resnet_module import Block, ResNetModule
from zoo.stacked import affine, batch_norm, grouped_conv2d, relu

FC_BIAS = 0.01
"""Initial value of the classifier's biases."""

SMALLEST = 8
"""Smallest number of pixels a side: the last stage then has one pixel."""


@dataclass(frozen=True)
class ResNet(Architecture):
    """Four stages of residual blocks; the families are `ResNet18` and `ResNet50`.

    Parameters
    ----------
    width : int
        Number of channels of the stem (w). The stages have w, 2w, 4w and 8w channels,
        times the expansion.
    shape : tuple of int
        Channels, height and width of an input; at least 8 pixels a side.
    classes : int, default=10
        Number of outputs.
    """

    width: int
    shape: tuple[int, ...]
    classes: int = 10
    fewest: ClassVar[int] = 8
    depths: ClassVar[tuple[int, ...]]
    bottleneck: ClassVar[bool]

    def __post_init__(self) -> None:
        if self.width < 1 or self.classes < 1:
            raise ValueError(
                f"width and classes of {type(self).__name__} must be at least 1. Got "
                f"{self.width} and {self.classes}."
            )
        if len(self.shape) != 3 or min(self.shape[1:]) < SMALLEST:
            raise ValueError(
                f"The shape parameter of {type(self).__name__} must be (channels, "
                f"height, width) with at least {SMALLEST} pixels a side. Got "
                f"{self.shape}; use the mlp for smaller images."
            )

    @classmethod
    def scaled(
        cls, width: int, shape: tuple[int, ...], classes: int, **options: Any
    ) -> Self:
        """Return the network of a given width."""
        return cls(width, tuple(shape), classes, **options)

    @cached_property
    def stages(self) -> tuple[tuple[Block, ...], ...]:
        """Sizes of all blocks, by stage."""
        inputs, stages = self.width, []
        for stage, depth in enumerate(self.depths):
            inner = self.width << stage
            outputs = inner * (4 if self.bottleneck else 1)
            blocks = []
            for k in range(depth):
                stride = 2 if stage and not k else 1
                kernels = (
                    (
                        (inputs, inner, 1, 1),
                        (inner, inner, 3, stride),
                        (inner, outputs, 1, 1),
                    )
                    if self.bottleneck
                    else ((inputs, inner, 3, stride), (inner, outputs, 3, 1))
                )
                projected = stride > 1 or inputs != outputs
                name = f"layer{stage + 1}.{k}"
                blocks.append(Block(name, kernels, inputs, outputs, stride, projected))
                inputs = outputs
            stages.append(tuple(blocks))
        return tuple(stages)

    @cached_property
    def layout(self) -> Layout:
        """Layout in which channels permute.

        The outputs of all blocks of a stage are added, so they permute together. The
        channels between the convolutions of a block permute by themselves.
        """
        stem = "stage1" if not self.stages[0][0].projected else "stem"
        params = _normalized(
            "conv1", "bn1", (self.width, self.shape[0], 3, 3), (stem, None)
        )
        into = stem
        for stage, blocks in enumerate(self.stages, 1):
            for block in blocks:
                source = into
                for k, (inputs, outputs, side, _) in enumerate(block.kernels, 1):
                    last = k == len(block.kernels)
                    out = f"stage{stage}" if last else f"{block.name}.conv{k}"
                    params += _normalized(
                        f"{block.name}.conv{k}",
                        f"{block.name}.bn{k}",
                        (outputs, inputs, side, side),
                        (out, source),
                    )
                    source = out
                if block.projected:
                    params += _normalized(
                        f"{block.name}.downsample.0",
                        f"{block.name}.downsample.1",
                        (block.outputs, block.inputs, 1, 1),
                        (source, into),
                    )
                into = source
        outputs = self.stages[-1][-1].outputs
        params.append(Param("fc.weight", (self.classes, outputs), (None, into)))
        params.append(Param("fc.bias", (self.classes,), (None,)))
        return Layout(tuple(params))

    def forward(
        self,
        tensors: Mapping[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        taps: Taps | None = None,
    ) -> Tensor:
        """Compute the logits of n networks; see `Architecture.forward`."""

        def convolved(x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
            kernel = tensors[f"{conv}.weight"]
            y = grouped_conv2d(x, kernel, stride, kernel.shape[3] // 2)
            names = ("weight", "bias", "running_mean", "running_var")
            return batch_norm(
                y, *(tensors[f"{norm}.{p}"] for p in names), training=training
            )

        features_by_layer = {} if taps is None else taps
        x = features_by_layer["bn1"] = relu(convolved(x, "conv1", "bn1"))
        for blocks in self.stages:
            for block in blocks:
                name, y = block.name, x
                for k, (*_, stride) in enumerate(block.kernels, 1):
                    y = convolved(y, f"{name}.conv{k}", f"{name}.bn{k}", stride)
                    y = relu(y) if k < len(block.kernels) else y
                if block.projected:
                    shortcut = f"{name}.downsample"
                    x = convolved(x, f"{shortcut}.0", f"{shortcut}.1", block.stride)
                x = features_by_layer[name] = relu(x + y)
        return affine(x.mean((3, 4)), tensors["fc.weight"], tensors["fc.bias"])

    def module(self) -> nn.Module:
        """Return a `ResNetModule` whose tensors have the names of the layout."""
        return ResNetModule(self.shape[0], self.width, self.stages, self.classes)

    def init_bounds(self) -> Array:
        """Return half-widths (d,): Kaiming's for kernels and ``fc.weight``, else 0."""
        bounds = fan_in_bounds(self.layout) * np.float32(math.sqrt(6))
        for name, columns in self.layout.slices.items():
            if len(self.layout[name].shape) == 1:
                bounds[columns] = 0
        return bounds

    def init_centre(self) -> Array:
        """Return means (d,) of the initial weights.

        They are 1 for scales and running variances, 0.01 for the classifier's biases, and
        0 elsewhere.
        """
        centre = np.zeros(self.layout.d, np.float32)
        for name, columns in self.layout.slices.items():
            is_scale = name.endswith(".weight") and len(self.layout[name].shape) == 1
            if is_scale or name.endswith(".running_var"):
                centre[columns] = 1
        centre[self.layout.slices["fc.bias"]] = FC_BIAS
        return centre

    @property
    def activations(self) -> int:
        """Floats that one sample keeps alive in training.

        They are the inputs, and the output of each convolution before and after the layer
        that follows it.
        """
        _, height, width = self.shape
        total = math.prod(self.shape) + 2 * self.width * height * width
        for blocks in self.stages:
            for block in blocks:
                for _, outputs, _, stride in block.kernels:
                    height, width = (-(-side // stride) for side in (height, width))
                    total += 2 * outputs * height * width
                total += (1 + block.projected) * block.outputs * height * width
        return total


class ResNet18(ResNet):
    """Residual network with 2, 2, 2 and 2 blocks of two 3x3 convolutions each.

    Examples
    --------
    >>> layout = ResNet18(2, (3, 32, 32)).layout
    >>> sum(param.size for param in layout if param.role == "parameter")
    11420
    """

    name = "resnet18"
    depths = (2, 2, 2, 2)
    bottleneck = False


class ResNet50(ResNet):
    """Residual network with 3, 4, 6 and 3 bottlenecks.

    A bottleneck gives four times as many channels as its inner convolutions have.

    Examples
    --------
    >>> layout = ResNet50(2, (3, 32, 32)).layout
    >>> sum(param.size for param in layout if param.role == "parameter")
    25260
    """

    name = "resnet50"
    depths = (3, 4, 6, 3)
    bottleneck = True


def _normalized(
    conv: str, norm: str, shape: tuple[int, ...], axes: tuple[str | None, str | None]
) -> list[Param]:
    """Return the tensors of a convolution and of the normalisation after it."""
    size, symbol = shape[:1], axes[:1]
    return [
        Param(f"{conv}.weight", shape, (*axes, None, None)),
        Param(f"{norm}.weight", size, symbol),
        Param(f"{norm}.bias", size, symbol),
        Param(f"{norm}.running_mean", size, symbol, role="buffer"),
        Param(f"{norm}.running_var", size, symbol, role="buffer"),
    ]
