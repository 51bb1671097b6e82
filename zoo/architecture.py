"""A network family: its layout, its stacked forward pass, its torch module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from torch import Tensor, nn

from catalog import Layout
from catalog.dtypes import Array

Taps: TypeAlias = MutableMapping[str, Tensor]
"""Where a forward pass leaves hidden features: by layer, shape (n, b, ...)."""

Edit: TypeAlias = Callable[[str, Tensor], Tensor]
"""Given a layer's name and what its affine map gives, shape (n, b, units, ...), before the
activation; what it returns of that shape takes its place. Copy what is to be kept: the
activation may overwrite it."""


@runtime_checkable
class Editable(Protocol):
    """A family whose forward pass offers what its affine maps give, to see or change it.

    Attributes
    ----------
    affine : tuple of str
        Names of the layers, input side first: each has ``<name>.weight`` and
        ``<name>.bias``, and no normalisation behind it.
    """

    @property
    def affine(self) -> tuple[str, ...]:
        """See above."""

    def forward(
        self,
        tensors: Mapping[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        taps: Taps | None = None,
        edit: Edit | None = None,
    ) -> Tensor:
        """`Architecture.forward` with ``edit``, called for each layer of `affine`."""


@dataclass(frozen=True)
class Architecture(ABC):
    """A member of a network family; subclasses are frozen dataclasses of its sizes.

    The stacked forward pass works on n networks at once: every tensor has a leading
    net axis. What it computes for one network must not depend on the others, and it can
    be differentiated twice with respect to the parameters.
    """

    name: ClassVar[str]
    fewest: ClassVar[int] = 2
    """Networks that train faster as one stack even if they leave a core's caches."""

    @classmethod
    @abstractmethod
    def scaled(
        cls, width: int, shape: tuple[int, ...], classes: int, **options: Any
    ) -> Self:
        """The member of a given width for inputs of one shape.

        Parameters
        ----------
        width : int
            What the family scales by: the load axis of a phase zoo.
        shape : tuple of int
            Shape of one input, channels first.
        classes : int
            Number of outputs.
        """

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """Tensors in the order and under the names of ``module().state_dict()``."""

    @abstractmethod
    def forward(
        self,
        tensors: Mapping[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        taps: Taps | None = None,
    ) -> Tensor:
        """Logits of n networks.

        Parameters
        ----------
        tensors : mapping of str to Tensor of shape (n, *shape)
            One entry per tensor of the layout.
        x : Tensor of shape (n, b, *input shape)
            A batch per network; one that all share may be expanded.
        training : bool, default=False
            Whether batch normalisation uses the batch's statistics, and moves the
            running ones in ``tensors`` in place.
        taps : dict of str to Tensor, optional
            Filled with the features behind each hidden layer, input side first; they
            may not be changed.

        Returns
        -------
        Tensor of shape (n, b, classes)
            Token networks: (n, b, tokens, classes).
        """

    @abstractmethod
    def module(self) -> nn.Module:
        """One network as an ordinary module, with torch's default initialisation."""

    @abstractmethod
    def init_bounds(self) -> Array:
        """Half-widths (d,) of the uniform distribution of each initial weight."""

    def init_centre(self) -> Array:
        """Its middle (d,): 0, but 1 for the scales of normalisation layers."""
        return np.zeros(self.layout.d, np.float32)

    @property
    def inherits(self) -> Mapping[str, str]:
        """Which tensors of a parent a run starts from: its name of each of ours.

        Tensors that are left out are drawn anew. Default: all, under our names.
        """
        return {param.name: param.name for param in self.layout}

    @property
    @abstractmethod
    def activations(self) -> int:
        """Floats that one sample keeps alive in training: for the memory estimate."""

    def init(self, generator: np.random.Generator) -> Array:
        """Initial weights of one network, shape (d,): uniform around `init_centre`."""
        uniform = generator.random(self.layout.d, dtype=np.float32)
        return self.init_centre() + (2 * uniform - 1) * self.init_bounds()

    def config(self) -> dict[str, Any]:
        """JSON values from which `zoo.modules.build` makes the same architecture."""
        return {"name": self.name, **asdict(self)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Architecture from the value of `config`, without its name."""
        known = {field.name for field in fields(cls)}
        if set(config) - {"name"} != known:
            raise ValueError(
                f"Architecture {cls.name!r} takes {sorted(known)}. Got {sorted(config)}."
            )
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        values.pop("name", None)
        return cls(**values)


def fan_in_bounds(layout: Layout) -> Array:
    """Torch's default for linear and convolutional layers: 1 / sqrt(fan in).

    A bias has the bound of the weight before it.
    """
    bounds, bound = np.zeros(layout.d, np.float32), 0.0
    for name, columns in layout.slices.items():
        shape = layout[name].shape
        if len(shape) > 1:
            bound = 1 / np.sqrt(np.prod(shape[1:]))
        bounds[columns] = bound
    return bounds
