"""Pre-norm transformer blocks that the vision and the language transformer share.

Keys have no bias. A bias would add the same constant to all scores of a query, which the
softmax ignores, so it would only be a direction in weight space along which the function
does not change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from catalog import Param
from catalog.dtypes import Array
from zoo.architecture import Architecture
from zoo.stacked import attention, layer_norm, linear_columns

STREAM = "stream"
"""Symbol of the residual stream: all blocks read and write the same features."""


@dataclass(frozen=True)
class Transformer(Architecture):
    """Base class of pre-norm transformers.

    Parameters
    ----------
    width : int
        Number of features of the stream; at least 2.
    shape : tuple of int
        Shape of one input.
    classes : int
        Number of outputs.
    """

    width: int
    shape: tuple[int, ...]
    classes: int

    @classmethod
    def scaled(
        cls, width: int, shape: tuple[int, ...], classes: int, **options: Any
    ) -> Self:
        """Return the network of a given width, by default with gcd(width, 4) heads."""
        options.setdefault("heads", math.gcd(width, 4))
        return cls(width, tuple(shape), classes, **options)

    def init_centre(self) -> Array:
        """Return means (d,): 1 for the scales of normalisation layers, else 0."""
        centre = np.zeros(self.layout.d, np.float32)
        for name, columns in self.layout.slices.items():
            if name.endswith(".weight") and len(self.layout[name].shape) == 1:
                centre[columns] = 1
        return centre


def check_transformer(
    family: str, width: int, heads: int, depth: int, mlp_ratio: int, classes: int
) -> None:
    """Check that sizes make a transformer.

    Raises
    ------
    ValueError
        If a size is out of range, or if the number of heads does not divide the width.
    """
    if width < 2:
        raise ValueError(
            f"width of {family} must be at least 2: layer normalisation maps a single "
            f"feature to zero. Got {width}."
        )
    counts = {"heads": heads, "depth": depth, "mlp_ratio": mlp_ratio, "classes": classes}
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} of {family} must be at least 1. Got {value}.")
    if width % heads:
        divisors = [h for h in range(1, width + 1) if width % h == 0]
        raise ValueError(
            f"heads of {family} must divide its width. Got {heads} heads for width "
            f"{width}, whose divisors are {divisors}."
        )


def norm_params(name: str, width: int) -> list[Param]:
    """Return the tensors of a layer normalisation of the stream."""
    return [Param(f"{name}.{part}", (width,), (STREAM,)) for part in ("weight", "bias")]


def block_params(k: int, width: int, heads: int, mlp_ratio: int) -> list[Param]:
    """Return the tensors of block k.

    Heads permute as blocks of rows, hidden units one by one. Within a head, the scores do
    not change if queries and keys permute together, nor the output if values and the
    output projection permute together.
    """
    name, head = f"blocks.{k}", f"head{k}*{width // heads}"
    scores, values = f"{head}:qk{k}", f"{head}:value{k}"
    hidden, units = f"hidden{k}", mlp_ratio * width
    square = (width, width)
    return [
        *norm_params(f"{name}.norm1", width),
        Param(f"{name}.attention.q.weight", square, (scores, STREAM)),
        Param(f"{name}.attention.q.bias", (width,), (scores,)),
        Param(f"{name}.attention.k.weight", square, (scores, STREAM)),
        Param(f"{name}.attention.v.weight", square, (values, STREAM)),
        Param(f"{name}.attention.v.bias", (width,), (values,)),
        Param(f"{name}.attention.out.weight", square, (STREAM, values)),
        Param(f"{name}.attention.out.bias", (width,), (STREAM,)),
        *norm_params(f"{name}.norm2", width),
        Param(f"{name}.fc1.weight", (units, width), (hidden, STREAM)),
        Param(f"{name}.fc1.bias", (units,), (hidden,)),
        Param(f"{name}.fc2.weight", (width, units), (STREAM, hidden)),
        Param(f"{name}.fc2.bias", (width,), (STREAM,)),
    ]


def block_forward(
    tensors: Mapping[str, Tensor],
    k: int,
    x: Tensor,
    tokens: int,
    heads: int,
    *,
    causal: bool = False,
) -> Tensor:
    """Compute the features (n, width, b * tokens) after block k."""

    def part(name: str) -> Tensor:
        return tensors[f"blocks.{k}.{name}"]

    y = layer_norm(x, part("norm1.weight"), part("norm1.bias"))
    q, key, v = (
        linear_columns(y, part("attention.q.weight"), part("attention.q.bias")),
        linear_columns(y, part("attention.k.weight")),
        linear_columns(y, part("attention.v.weight"), part("attention.v.bias")),
    )
    y = attention(q, key, v, tokens, heads, causal=causal)
    x = x + linear_columns(y, part("attention.out.weight"), part("attention.out.bias"))
    y = layer_norm(x, part("norm2.weight"), part("norm2.bias"))
    y = linear_columns(y, part("fc1.weight"), part("fc1.bias"))
    y = functional.gelu(y)
    return x + linear_columns(y, part("fc2.weight"), part("fc2.bias"))


def block_activations(width: int, tokens: int, heads: int, mlp_ratio: int) -> int:
    """Count the floats that one sample keeps alive in a block."""
    return tokens * ((12 + 2 * mlp_ratio) * width + 2 * heads * tokens)


def features(x: Tensor, tokens: int) -> Tensor:
    """View features ``(n, width, b * tokens)`` as ``(n, b, tokens, width)``."""
    return x.unflatten(2, (-1, tokens)).permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Multi-head self-attention of one network."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens (b, tokens, width) by attention."""
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out


class TransformerBlock(nn.Module):
    """Attention, then a two-layer perceptron.

    Each has a layer normalisation before it, and adds its output to the stream.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: int, causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, mlp_ratio * width)
        self.gelu = nn.GELU()
        self.fc2 = nn.Linear(mlp_ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the tokens (b, tokens, width) after the block."""
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.fc2(self.gelu(self.fc1(self.norm2(x))))
        return out


def embedding_module(rows: int, width: int, deviation: float) -> nn.Embedding:
    """Return a table with normal entries, much smaller than torch's default."""
    return nn.Embedding(rows, width, _weight=deviation * torch.randn(rows, width))
