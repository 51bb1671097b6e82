"""Language model in the style of GPT-2, scaled by its model dimension.

Pre-norm decoder blocks, learned positions, four hidden units per feature, the token
table used again as output layer, and the initialisation of [1]_: normal with deviation
0.02, on the way into the residual stream divided by sqrt(2 * depth).

References
----------
.. [1] Radford et al., 2019, Language Models are Unsupervised Multitask Learners.
   Differs: any vocabulary, such as bytes; no dropout; the exact GELU, here faster than
   its tanh form; keys have no bias, which the softmax would ignore; queries, keys and
   values are three matrices, (out, in).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from catalog import Layout, Param
from catalog.dtypes import Array
from zoo.architecture import Architecture, Taps
from zoo.architectures.transformer import (
    STREAM,
    TransformerBlock,
    block_activations,
    block_forward,
    block_params,
    check_transformer,
    embedding_module,
    features,
    norm_centre,
    norm_params,
)
from zoo.stacked import embedding, layer_norm

DEVIATION = 0.02
"""Standard deviation of initial weights."""

MLP_RATIO = 4
"""Hidden units of a block per feature."""


@dataclass(frozen=True)
class GPT(Architecture):
    """A decoder over tokens, each predicted from those before it.

    Parameters
    ----------
    width : int
        Model dimension; at least 2.
    shape : tuple of int
        Tokens of an input, such as ``(64,)``; shorter inputs may be given too.
    classes : int, default=256
        Vocabulary.
    depth : int, default=4
        Blocks.
    heads : int, default=1
        Divides the width.
    tied : bool, default=True
        Whether the token table is the output layer too.

    Examples
    --------
    >>> GPT(32, (64,)).layout.d
    60992
    """

    width: int
    shape: tuple[int, ...]
    classes: int = 256
    depth: int = 4
    heads: int = 1
    tied: bool = True
    name: ClassVar[str] = "gpt"

    def __post_init__(self) -> None:
        check_transformer(
            "GPT", self.width, self.heads, self.depth, MLP_RATIO, self.classes
        )
        if len(self.shape) != 1 or self.shape[0] < 1:
            raise ValueError(
                "The shape parameter of GPT must be (tokens,), such as (64,). Got "
                f"{self.shape}."
            )

    @classmethod
    def scaled(
        cls, width: int, shape: tuple[int, ...], classes: int, **options: Any
    ) -> Self:
        """The network of that width, with as many of 4 heads as divide it."""
        options.setdefault("heads", math.gcd(width, 4))
        return cls(width, tuple(shape), classes, **options)

    @cached_property
    def layout(self) -> Layout:
        """The stream permutes through all blocks; so do heads and hidden units."""
        params = [
            Param("wte.weight", (self.classes, self.width), (None, STREAM)),
            Param("wpe.weight", (self.shape[0], self.width), (None, STREAM)),
        ]
        for k in range(self.depth):
            params += block_params(k, self.width, self.heads, MLP_RATIO)
        params += norm_params("norm", self.width)
        if not self.tied:
            params.append(Param("head.weight", (self.classes, self.width), (None, STREAM)))
        return Layout(tuple(params))

    def forward(
        self,
        tensors: Mapping[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        taps: Taps | None = None,
    ) -> Tensor:
        """Logits (n, b, tokens, classes) of tokens (n, b, tokens), int64."""
        b, tokens = x.shape[1:]
        x = embedding(x.flatten(1), tensors["wte.weight"])
        places = tensors["wpe.weight"][:, :tokens].mT
        x = (x.unflatten(2, (b, tokens)) + places.unsqueeze(2)).flatten(2)
        for k in range(self.depth):
            x = block_forward(tensors, k, x, tokens, self.heads, causal=True)
            if taps is not None:
                taps[f"blocks.{k}"] = features(x, tokens)
        x = layer_norm(x, tensors["norm.weight"], tensors["norm.bias"])
        table = tensors["wte.weight" if self.tied else "head.weight"]
        return features(torch.bmm(table, x), tokens)

    def module(self) -> nn.Module:
        """A `GPTModule` with the layout's names."""
        return GPTModule(self)

    def init(self, generator: np.random.Generator) -> Array:
        """Initial weights of one network, shape (d,): normal around `init_centre`."""
        normal = generator.standard_normal(self.layout.d, dtype=np.float32)
        return self.init_centre() + normal * self.init_bounds() / np.float32(np.sqrt(3))

    def init_bounds(self) -> Array:
        """Half-widths (d,) of uniform distributions with the deviations of `init`."""
        bounds = np.zeros(self.layout.d, np.float32)
        for name, columns in self.layout.slices.items():
            if len(self.layout[name].shape) > 1:
                into_stream = name.endswith((".out.weight", ".fc2.weight"))
                share = 1 / math.sqrt(2 * self.depth) if into_stream else 1
                bounds[columns] = DEVIATION * share * math.sqrt(3)
        return bounds

    def init_centre(self) -> Array:
        """1 for the scales of normalisation layers."""
        return norm_centre(self.layout)

    @property
    def activations(self) -> int:
        """Embedded tokens, blocks, and logits with their softmax."""
        (tokens,) = self.shape
        block = block_activations(self.width, tokens, self.heads, MLP_RATIO)
        return tokens * (4 * self.width + 2 * self.classes) + self.depth * block


class GPTModule(nn.Module):
    """One language model."""

    def __init__(self, sizes: GPT) -> None:
        super().__init__()
        d = sizes.width
        self.wte = embedding_module(sizes.classes, d, DEVIATION)
        self.wpe = embedding_module(sizes.shape[0], d, DEVIATION)
        self.blocks = nn.Sequential(
            *(TransformerBlock(d, sizes.heads, MLP_RATIO, True) for _ in range(sizes.depth))
        )
        self.norm = nn.LayerNorm(d)
        if not sizes.tied:
            self.head = nn.Linear(d, sizes.classes, bias=False)
        self.tied = sizes.tied

    def forward(self, x: Tensor) -> Tensor:
        """Logits (b, tokens, classes) of tokens (b, tokens)."""
        places = torch.arange(x.shape[1], device=x.device)
        x = self.norm(self.blocks(self.wte(x) + self.wpe(places)))
        table = self.wte if self.tied else self.head
        return nn.functional.linear(x, table.weight)
