"""Multi-layer perceptron of any depth, width and activation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from torch import Tensor, nn

from catalog import Layout, Param
from catalog.dtypes import Array
from zoo.architecture import Edit, Taps, fan_in_bounds
from zoo.architectures.perceptron import Perceptron
from zoo.stacked import affine
from zoo.stacked.activation import activation, activation_module


@dataclass(frozen=True)
class MLP(Perceptron):
    """Fully connected layers with the same activation between them.

    Parameters
    ----------
    sizes : tuple of int
        Number of units of every layer, inputs first and classes last.
    activation : str, default="relu"
        Name of an activation in `zoo.stacked.activation`.

    Examples
    --------
    >>> MLP((64, 32, 32, 10)).layout.d
    3466
    """

    activation: str = "relu"
    name: ClassVar[str] = "mlp"

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(
                f"The sizes parameter of MLP must be at least two positive numbers of "
                f"units. Got {self.sizes}."
            )
        activation(self.activation)

    @cached_property
    def layout(self) -> Layout:
        """Layout in which hidden units permute.

        Tensors are the weights ``layer<k>.weight`` (out, in) and the biases.
        """
        params = []
        last = len(self.sizes) - 2
        for k, (inputs, outputs) in enumerate(
            zip(self.sizes, self.sizes[1:], strict=False)
        ):
            into = f"hidden{k}" if k else None
            out = f"hidden{k + 1}" if k < last else None
            params.append(Param(f"layer{k}.weight", (outputs, inputs), (out, into)))
            params.append(Param(f"layer{k}.bias", (outputs,), (out,)))
        return Layout(tuple(params))

    def forward(
        self,
        tensors: Mapping[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        taps: Taps | None = None,
        edit: Edit | None = None,
    ) -> Tensor:
        """Compute the logits of n networks; see `Architecture.forward` and `Editable`."""
        x = x.flatten(2)
        act, last = activation(self.activation), len(self.sizes) - 2
        for k in range(last + 1):
            x = affine(x, tensors[f"layer{k}.weight"], tensors[f"layer{k}.bias"])
            x = x if edit is None else edit(f"layer{k}", x)
            x = act(x) if k < last else x
            if taps is not None and k < last:
                taps[f"layer{k}"] = x
        return x

    @property
    def affine(self) -> tuple[str, ...]:
        """Names of the layers: all are affine."""
        return tuple(f"layer{k}" for k in range(len(self.sizes) - 1))

    def module(self) -> nn.Module:
        """Return an ``nn.Sequential`` whose tensors have the names of the layout."""
        layers: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
        last = len(self.sizes) - 2
        for k in range(last + 1):
            layers.append((f"layer{k}", nn.Linear(self.sizes[k], self.sizes[k + 1])))
            if k < last:
                layers.append((f"act{k}", activation_module(self.activation)))
        return nn.Sequential(OrderedDict(layers))

    def init_bounds(self) -> Array:
        """Return the half-widths (d,) of torch's default initialisation."""
        return fan_in_bounds(self.layout)

    @property
    def activations(self) -> int:
        """Floats that one sample keeps alive in training.

        They are the inputs, pre-activations and activations.
        """
        return self.sizes[0] + 2 * sum(self.sizes[1:])
