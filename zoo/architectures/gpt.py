"""Language model in the style of GPT-2, scaled by its model dimension.

The network has pre-norm decoder blocks, learned positions and four hidden units per
feature, and its token table is the output layer too. Weights are initialised as in [1]_:
normal with standard deviation 0.02, divided by sqrt(2 * depth) in the matrices that write
into the residual stream.

References
----------
.. [1] Radford et al., 2019, Language Models are Unsupervised Multitask Learners.
   Our network differs: it takes any vocabulary, such as bytes; it has no dropout; it
   uses the exact GELU, here faster than the tanh form; keys have no bias, which the
   softmax would ignore; queries, keys and values are three matrices, (out, in).
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
from zoo.architecture import Taps
from zoo.architectures.transformer import (
    STREAM,
    Transformer,
    TransformerBlock,
    block_activations,
    block_forward,
    block_params,
    check_transformer,
    embedding_module,
    features,
    norm_params,
)
from zoo.stacked import embedding, layer_norm

DEVIATION = 0.02
"""Standard deviation of initial weights."""

MLP_RATIO = 4
"""Number of hidden units of a block per feature."""


@dataclass(frozen=True)
class GPT(Transformer):
    """A decoder that predicts each token from the tokens before it.

    Parameters
    ----------
    width : int
        Model dimension; at least 2.
    shape : tuple of int
        Number of tokens of an input, such as ``(64,)``; shorter inputs are accepted too.
    classes : int, default=256
        Size of the vocabulary.
    depth : int, default=4
        Number of blocks.
    heads : int, default=1
        Number of attention heads; must divide the width.
    tied : bool, default=True
        Whether the token table is the output layer too.

    Examples
    --------
    >>> GPT(32, (64,)).layout.d
    60992
    """

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

    @cached_property
    def layout(self) -> Layout:
        """Layout in which the residual stream, the heads and the hidden units permute.

        The stream has the same permutation in all blocks.
        """
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
        """Compute the logits (n, b, tokens, classes) of tokens (n, b, tokens), int64."""
        b, tokens = x.shape[1:]
        x = embedding(x.flatten(1), tensors["wte.weight"])
        positions = tensors["wpe.weight"][:, :tokens].mT
        x = (x.unflatten(2, (b, tokens)) + positions.unsqueeze(2)).flatten(2)
        for k in range(self.depth):
            x = block_forward(tensors, k, x, tokens, self.heads, causal=True)
            if taps is not None:
                taps[f"blocks.{k}"] = features(x, tokens)
        x = layer_norm(x, tensors["norm.weight"], tensors["norm.bias"])
        table = tensors["wte.weight" if self.tied else "head.weight"]
        return features(torch.bmm(table, x), tokens)

    def module(self) -> nn.Module:
        """Return a `GPTModule` whose tensors have the names of the layout."""
        return GPTModule(self)

    def init(self, generator: np.random.Generator) -> Array:
        """Draw the weights (d,) of one network from a normal around `init_centre`."""
        normal = generator.standard_normal(self.layout.d, dtype=np.float32)
        return self.init_centre() + normal * self.init_bounds() / np.float32(np.sqrt(3))

    def init_bounds(self) -> Array:
        """Return half-widths (d,) of uniforms with the standard deviations of `init`."""
        bounds = np.zeros(self.layout.d, np.float32)
        for name, columns in self.layout.slices.items():
            if len(self.layout[name].shape) > 1:
                into_stream = name.endswith((".out.weight", ".fc2.weight"))
                share = 1 / math.sqrt(2 * self.depth) if into_stream else 1
                bounds[columns] = DEVIATION * share * math.sqrt(3)
        return bounds

    @property
    def activations(self) -> int:
        """Floats that one sample keeps alive in training.

        They are the embedded tokens, the blocks, and the logits with their softmax.
        """
        (tokens,) = self.shape
        block = block_activations(self.width, tokens, self.heads, MLP_RATIO)
        return tokens * (4 * self.width + 2 * self.classes) + self.depth * block


class GPTModule(nn.Module):
    """One language model as an ordinary torch module."""

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
        """Compute the logits (b, tokens, classes) of tokens (b, tokens)."""
        positions = torch.arange(x.shape[1], device=x.device)
        x = self.norm(self.blocks(self.wte(x) + self.wpe(positions)))
        table = self.wte if self.tied else self.head
        return nn.functional.linear(x, table.weight)
