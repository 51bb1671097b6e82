"""The small convolutional network of the classic model zoos, scalable in width.

At width 8 on one 28x28 channel the network has the 2,464 parameters of [1]_: three
convolutions (8 channels of 5x5, 6 of 5x5 and 4 of 2x2), max-pooling by two after the
first two, and 20 hidden units.

References
----------
.. [1] Schürholt et al., 2022, arXiv:2209.14764. Differences: torch's default
   initialisation unless it is scaled, no dropout, and a variable width.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from catalog import Layout, Param
from catalog.dtypes import Array
from zoo.architecture import Architecture, Edit, Taps, fan_in_bounds
from zoo.stacked import affine, conv2d, conv2d_max_pool2d, max_pool2d
from zoo.stacked.activation import activation, activation_module


@dataclass(frozen=True)
class CNNSmall(Architecture):
    """Three convolutions and two linear layers.

    Parameters
    ----------
    width : int
        Number of channels of the first convolution. The other convolutions have 3/4 and
        1/2 as many channels, and there are 5/2 as many hidden units (rounded, at least
        1).
    shape : tuple of int
        Channels, height and width of an input; at least 20 pixels a side.
    classes : int, default=10
        Number of outputs.
    activation : str, default="relu"
        Name of an activation in `zoo.stacked.activation`.

    Examples
    --------
    >>> CNNSmall(8, (1, 28, 28)).layout.d
    2464
    """

    width: int
    shape: tuple[int, ...]
    classes: int = 10
    activation: str = "relu"
    name: ClassVar[str] = "cnn_small"

    def __post_init__(self) -> None:
        if self.width < 1 or self.classes < 1:
            raise ValueError(
                f"width and classes of CNNSmall must be at least 1. Got {self.width} "
                f"and {self.classes}."
            )
        if len(self.shape) != 3 or min(self.shape[1:]) < 20:
            raise ValueError(
                "The shape parameter of CNNSmall must be (channels, height, width) with "
                f"at least 20 pixels a side. Got {self.shape}; use the mlp for smaller "
                "images."
            )
        activation(self.activation)

    @classmethod
    def scaled(
        cls, width: int, shape: tuple[int, ...], classes: int, **options: Any
    ) -> Self:
        """Return the network of a given width."""
        return cls(width, tuple(shape), classes, **options)

    @property
    def channels(self) -> tuple[int, int, int]:
        """Number of channels of each of the three convolutions."""
        w = self.width
        return w, max(1, round(3 * w / 4)), max(1, round(w / 2))

    @property
    def hidden(self) -> int:
        """Number of hidden units between the two linear layers."""
        return max(1, round(5 * self.width / 2))

    @property
    def features(self) -> tuple[int, int]:
        """Height and width of the last convolution's output."""
        height, width = (((side - 4) // 2 - 4) // 2 - 1 for side in self.shape[1:])
        return height, width

    @cached_property
    def layout(self) -> Layout:
        """Layout in which channels and hidden units permute.

        The flattened channels of the last convolution permute as blocks.
        """
        c1, c2, c3 = self.channels
        positions = math.prod(self.features)
        layers = [
            ("conv1", (c1, self.shape[0], 5, 5), ("c1", None, None, None)),
            ("conv2", (c2, c1, 5, 5), ("c2", "c1", None, None)),
            ("conv3", (c3, c2, 2, 2), ("c3", "c2", None, None)),
            ("fc1", (self.hidden, c3 * positions), ("hidden", f"c3*{positions}")),
            ("fc2", (self.classes, self.hidden), (None, "hidden")),
        ]
        params = []
        for name, shape, axes in layers:
            params.append(Param(f"{name}.weight", shape, axes))
            params.append(Param(f"{name}.bias", shape[:1], axes[:1]))
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
        act, features_by_layer = activation(self.activation), {} if taps is None else taps

        def edited(name: str, x: Tensor) -> Tensor:
            return x if edit is None else edit(name, x)

        for name in ("conv1", "conv2"):
            weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
            if edit is None:
                y = conv2d_max_pool2d(x, weight, bias)
            else:
                y = max_pool2d(edit(name, conv2d(x, weight, bias)))
            x = features_by_layer[name] = act(y)
        y = conv2d(x, tensors["conv3.weight"], tensors["conv3.bias"])
        x = features_by_layer["conv3"] = act(edited("conv3", y))
        y = affine(x.flatten(2), tensors["fc1.weight"], tensors["fc1.bias"])
        x = features_by_layer["fc1"] = act(edited("fc1", y))
        return edited("fc2", affine(x, tensors["fc2.weight"], tensors["fc2.bias"]))

    @property
    def affine(self) -> tuple[str, ...]:
        """Names of the layers: all are affine."""
        return "conv1", "conv2", "conv3", "fc1", "fc2"

    def module(self) -> nn.Module:
        """Return an ``nn.Sequential`` whose tensors have the names of the layout."""
        c1, c2, c3 = self.channels
        layers: list[tuple[str, nn.Module]] = [
            ("conv1", nn.Conv2d(self.shape[0], c1, 5)),
            ("pool1", nn.MaxPool2d(2)),
            ("act1", activation_module(self.activation)),
            ("conv2", nn.Conv2d(c1, c2, 5)),
            ("pool2", nn.MaxPool2d(2)),
            ("act2", activation_module(self.activation)),
            ("conv3", nn.Conv2d(c2, c3, 2)),
            ("act3", activation_module(self.activation)),
            ("flatten", nn.Flatten()),
            ("fc1", nn.Linear(c3 * math.prod(self.features), self.hidden)),
            ("act4", activation_module(self.activation)),
            ("fc2", nn.Linear(self.hidden, self.classes)),
        ]
        return nn.Sequential(OrderedDict(layers))

    def init_bounds(self) -> Array:
        """Return the half-widths (d,) of torch's default initialisation."""
        return fan_in_bounds(self.layout)

    @property
    def activations(self) -> int:
        """Floats that one sample keeps alive in training.

        They are the inputs, the outputs of the convolutions and the pooled maps.
        """
        (c1, c2, _), (_, height, width) = self.channels, self.shape
        first = c1 * (height - 4) * (width - 4)
        second = c2 * ((height - 4) // 2 - 4) * ((width - 4) // 2 - 4)
        return math.prod(self.shape) + 2 * (first + second) + 4 * self.hidden
