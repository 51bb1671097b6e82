"""Vision transformer for small images, scaled by its embedding dimension.

It is the network of [1]_ with the mean over patches in place of a class token, as in
[2]_. The mean is as good for small networks, and the number of tokens remains that of the
grid. [3]_ scales the embedding dimension from 6 to 192.

References
----------
.. [1] Dosovitskiy et al., 2021, arXiv:2010.11929.
.. [2] Beyer et al., 2022, arXiv:2205.01580. Our network differs: positions are learned.
.. [3] Schürholt et al., 2025, arXiv:2504.18072. The paper does not give patch, depth,
   heads and hidden units: ours are guesses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from catalog import Layout, Param
from catalog.dtypes import Array
from zoo.architecture import Taps, fan_in_bounds
from zoo.architectures.transformer import (
    STREAM,
    Transformer,
    TransformerBlock,
    block_activations,
    block_forward,
    block_params,
    check_transformer,
    features,
    norm_params,
)
from zoo.stacked import affine, layer_norm, linear_columns

POSITION = 0.02
"""Standard deviation of initial positions."""


@dataclass(frozen=True)
class ViT(Transformer):
    """Embedding of patches, pre-norm blocks, and a linear classifier of their mean.

    Parameters
    ----------
    width : int
        Embedding dimension; at least 2.
    shape : tuple of int
        Channels, height and width of an input; the patch must divide height and width.
    classes : int, default=10
        Number of outputs.
    patch : int, default=4
        Pixels a side of a patch.
    depth : int, default=4
        Number of blocks.
    heads : int, default=1
        Number of attention heads; must divide the width.
    mlp_ratio : int, default=2
        Number of hidden units of a block per feature.

    Examples
    --------
    >>> ViT(24, (3, 32, 32)).layout.d
    22402
    """

    classes: int = 10
    patch: int = 4
    depth: int = 4
    heads: int = 1
    mlp_ratio: int = 2
    name: ClassVar[str] = "vit"
    fewest: ClassVar[int] = 8

    def __post_init__(self) -> None:
        check_transformer(
            "ViT", self.width, self.heads, self.depth, self.mlp_ratio, self.classes
        )
        if self.patch < 1:
            raise ValueError(f"patch of ViT must be at least 1. Got {self.patch}.")
        sides = self.shape[1:]
        if len(self.shape) != 3 or min(sides) < 1 or any(s % self.patch for s in sides):
            raise ValueError(
                "The shape parameter of ViT must be (channels, height, width) in whole "
                f"patches of {self.patch} pixels a side. Got {self.shape}; give a patch "
                "that divides height and width."
            )

    @property
    def tokens(self) -> int:
        """Number of patches of an image."""
        return math.prod(self.shape[1:]) // self.patch**2

    @cached_property
    def layout(self) -> Layout:
        """Layout in which the residual stream, the heads and the hidden units permute.

        The stream has the same permutation in all blocks.
        """
        d, p = self.width, self.patch
        params = [
            Param("position", (self.tokens, d), (None, STREAM)),
            Param("patches.weight", (d, self.shape[0], p, p), (STREAM, None, None, None)),
            Param("patches.bias", (d,), (STREAM,)),
        ]
        for k in range(self.depth):
            params += block_params(k, d, self.heads, self.mlp_ratio)
        params += norm_params("norm", d)
        params.append(Param("head.weight", (self.classes, d), (None, STREAM)))
        params.append(Param("head.bias", (self.classes,), (None,)))
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
        n, b, p, tokens = *x.shape[:2], self.patch, self.tokens
        x = x.unflatten(4, (-1, p)).unflatten(3, (-1, p)).permute(0, 2, 4, 6, 1, 3, 5)
        x = x.reshape(n, -1, b * tokens)
        x = linear_columns(x, tensors["patches.weight"].flatten(2), tensors["patches.bias"])
        x = x.unflatten(2, (b, tokens)) + tensors["position"].mT.unsqueeze(2)
        x = x.flatten(2)
        for k in range(self.depth):
            x = block_forward(tensors, k, x, tokens, self.heads)
            if taps is not None:
                taps[f"blocks.{k}"] = features(x, tokens)
        x = layer_norm(x, tensors["norm.weight"], tensors["norm.bias"])
        x = x.unflatten(2, (b, tokens)).mean(3).mT
        return affine(x, tensors["head.weight"], tensors["head.bias"])

    def module(self) -> nn.Module:
        """Return a `ViTModule` whose tensors have the names of the layout."""
        return ViTModule(self)

    def init_bounds(self) -> Array:
        """Return half-widths (d,) of the uniform distributions of initial weights.

        Linear layers have torch's default, positions a standard deviation of 0.02.
        """
        bounds = fan_in_bounds(self.layout)
        for name, columns in self.layout.slices.items():
            if "norm" in name:
                bounds[columns] = 0
        bounds[self.layout.slices["position"]] = POSITION * np.sqrt(3)
        return bounds

    @property
    def activations(self) -> int:
        """Floats that one sample keeps alive in training.

        They are the inputs, the embedded patches and the blocks.
        """
        block = block_activations(self.width, self.tokens, self.heads, self.mlp_ratio)
        return math.prod(self.shape) + 4 * self.width * self.tokens + self.depth * block


class ViTModule(nn.Module):
    """One vision transformer as an ordinary torch module."""

    def __init__(self, sizes: ViT) -> None:
        super().__init__()
        d, p = sizes.width, sizes.patch
        self.position = nn.Parameter(POSITION * torch.randn(sizes.tokens, d))
        self.patches = nn.Conv2d(sizes.shape[0], d, p, p)
        self.blocks = nn.Sequential(
            *(
                TransformerBlock(d, sizes.heads, sizes.mlp_ratio, False)
                for _ in range(sizes.depth)
            )
        )
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, sizes.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits (b, classes) of images (b, channels, height, width)."""
        x = self.patches(x).flatten(2).mT + self.position
        out: Tensor = self.head(self.norm(self.blocks(x)).mean(1))
        return out
