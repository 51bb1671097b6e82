"""Multi-layer perceptron with frozen hidden layers that low-rank updates adapt.

Every hidden layer computes ``(W + scale B A) x + b`` with W and b of the root, the network
that training starts from. A starts random and B at zero, as in [1]_, so training begins at
the function of the root. The output layer is new, starts at zero and is trained in full.
Tensors have the names that peft gives them.

W and b are buffers, so no optimiser changes them. Every stored network is complete: it
contains a copy of the root.

References
----------
.. [1] Hu et al. 2021, arXiv:2106.09685.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from catalog import Layout, Param
from catalog.dtypes import Array
from zoo.architecture import Taps, fan_in_bounds
from zoo.architectures.perceptron import Perceptron
from zoo.stacked import affine
from zoo.stacked.activation import activation, activation_module
from zoo.stacked.linear import bmm


@dataclass(frozen=True)
class LoRAMLP(Perceptron):
    """Multi-layer perceptron with adapted hidden layers and a new output layer.

    Parameters
    ----------
    sizes : tuple of int
        Number of units of every layer, inputs first and classes last.
    rank : int, default=8
        Rank of the updates.
    scale : float, default=2.0
        Factor of the updates: alpha / rank in the notation of [1]_.
    activation : str, default="relu"
        Name of an activation in `zoo.stacked.activation`.

    Examples
    --------
    >>> [p.name for p in LoRAMLP((6, 5, 2), 3).layout if p.role == "parameter"]
    ['layer0.lora_A.weight', 'layer0.lora_B.weight', 'layer1.weight', 'layer1.bias']
    """

    rank: int = 8
    scale: float = 2.0
    activation: str = "relu"
    name: ClassVar[str] = "lora_mlp"

    def __post_init__(self) -> None:
        if len(self.sizes) < 3 or min(self.sizes) < 1 or self.rank < 1:
            raise ValueError(
                "LoRAMLP needs at least three sizes and a rank, all at least 1. Got "
                f"{self.sizes} and {self.rank}."
            )
        activation(self.activation)

    @cached_property
    def layout(self) -> Layout:
        """Layout with two low-rank factors, then the frozen layer, for every hidden layer.

        Hidden units permute, and so do the ranks of each pair of factors.
        """
        params = []
        last = len(self.sizes) - 2
        for k in range(last):
            inputs, outputs, rank = self.sizes[k], self.sizes[k + 1], self.rank
            into, out, between = f"hidden{k}" if k else None, f"hidden{k + 1}", f"rank{k}"
            base = f"layer{k}.base_layer"
            params += [
                Param(f"layer{k}.lora_A.weight", (rank, inputs), (between, into)),
                Param(f"layer{k}.lora_B.weight", (outputs, rank), (out, between)),
                Param(f"{base}.weight", (outputs, inputs), (out, into), role="buffer"),
                Param(f"{base}.bias", (outputs,), (out,), role="buffer"),
            ]
        head = (self.sizes[-1], self.sizes[-2])
        params.append(Param(f"layer{last}.weight", head, (None, f"hidden{last}")))
        params.append(Param(f"layer{last}.bias", head[:1]))
        return Layout(tuple(params))

    @property
    def inherits(self) -> Mapping[str, str]:
        """Names of the frozen layers in an MLP with hidden layers of the same sizes."""
        return {
            param.name: param.name.replace(".base_layer", "")
            for param in self.layout
            if param.role == "buffer"
        }

    def forward(
        self,
        tensors: Mapping[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        taps: Taps | None = None,
    ) -> Tensor:
        """Compute the logits of n networks; see `Architecture.forward`."""
        x = x.flatten(2)
        act, last = activation(self.activation), len(self.sizes) - 2
        for k in range(last):
            base = f"layer{k}.base_layer"
            update = bmm(x, tensors[f"layer{k}.lora_A.weight"].mT)
            update = bmm(update, tensors[f"layer{k}.lora_B.weight"].mT)
            y = affine(x, tensors[f"{base}.weight"], tensors[f"{base}.bias"])
            x = act(y + self.scale * update)
            if taps is not None:
                taps[f"layer{k}"] = x
        return affine(x, tensors[f"layer{last}.weight"], tensors[f"layer{last}.bias"])

    def module(self) -> nn.Module:
        """Return an ``nn.Sequential`` whose tensors have the names of the layout."""
        layers: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
        last = len(self.sizes) - 2
        for k in range(last):
            adapted = _Adapted(self.sizes[k], self.sizes[k + 1], self.rank, self.scale)
            layers.append((f"layer{k}", adapted))
            layers.append((f"act{k}", activation_module(self.activation)))
        layers.append((f"layer{last}", nn.Linear(self.sizes[-2], self.sizes[-1])))
        return nn.Sequential(OrderedDict(layers))

    def init_bounds(self) -> Array:
        """Return half-widths (d,): torch's default for A and frozen layers, else 0.

        The frozen layers are drawn only in a run without a root.
        """
        bounds = fan_in_bounds(self.layout)
        last = len(self.sizes) - 2
        for name, columns in self.layout.slices.items():
            if ".lora_B." in name or name.startswith(f"layer{last}."):
                bounds[columns] = 0
        return bounds.astype(np.float32)

    @property
    def activations(self) -> int:
        """Floats that one sample keeps alive in training.

        They are the inputs, pre-activations, activations and the values between the two
        factors.
        """
        hidden = 4 * sum(self.sizes[1:-1]) + self.rank * (len(self.sizes) - 2)
        return self.sizes[0] + hidden + self.sizes[-1]


class _Frozen(nn.Module):
    """A linear layer whose weight and bias are buffers."""

    weight: Tensor
    bias: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        plain = nn.Linear(inputs, outputs)
        self.register_buffer("weight", plain.weight.detach())
        self.register_buffer("bias", plain.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = nn.functional.linear(x, self.weight, self.bias)
        return out


class _Adapted(nn.Module):
    """A frozen linear layer plus a scaled low-rank update."""

    def __init__(self, inputs: int, outputs: int, rank: int, scale: float) -> None:
        super().__init__()
        self.lora_A = nn.Linear(inputs, rank, bias=False)
        self.lora_B = nn.Linear(rank, outputs, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        self.base_layer = _Frozen(inputs, outputs)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base_layer(x) + self.scale * self.lora_B(self.lora_A(x))
        return out
