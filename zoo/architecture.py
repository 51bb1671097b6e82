"""Base class of network families: layout, stacked forward pass and torch module."""

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
"""Hidden features by layer, shape (n, b, ...); a forward pass fills the mapping."""

Edit: TypeAlias = Callable[[str, Tensor], Tensor]
"""Function of a layer's name and the output of its affine map, shape (n, b, units, ...),
before the activation; returns a tensor of that shape that replaces the output. Copy what
you keep: the activation may overwrite it."""


@runtime_checkable
class Editable(Protocol):
    """Protocol of families whose forward pass can read or edit outputs of affine maps.

    Attributes
    ----------
    affine : tuple of str
        Names of the layers, input side first. Each layer has ``<name>.weight`` and
        ``<name>.bias``, and no normalisation layer follows it.
    """

    @property
    def affine(self) -> tuple[str, ...]:
        """Names of the layers, input side first."""

    def forward(
        self,
        tensors: Mapping[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        taps: Taps | None = None,
        edit: Edit | None = None,
    ) -> Tensor:
        """Run `Architecture.forward` and call ``edit`` for each layer of `affine`."""


@dataclass(frozen=True)
class Architecture(ABC):
    """Base class of architectures; subclasses are frozen dataclasses of their sizes.

    The stacked forward pass works on n networks at once: every tensor has a leading
    network axis. The result for one network must not depend on the others, and it can
    be differentiated twice with respect to the parameters.
    """

    name: ClassVar[str]
    fewest: ClassVar[int] = 2
    """Number of networks that train faster as one stack even if they do not fit into a
    core's caches."""

    @classmethod
    @abstractmethod
    def scaled(
        cls, width: int, shape: tuple[int, ...], classes: int, **options: Any
    ) -> Self:
        """Return the architecture of a given width for inputs of one shape.

        Parameters
        ----------
        width : int
            Size by which the family scales: the load axis of a phase zoo.
        shape : tuple of int
            Shape of one input, channels first.
        classes : int
            Number of outputs.
        **options
            Further options of the family.
        """

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """Layout of the tensors, with the order and names of ``module().state_dict()``."""

    @abstractmethod
    def forward(
        self,
        tensors: Mapping[str, Tensor],
        x: Tensor,
        *,
        training: bool = False,
        taps: Taps | None = None,
    ) -> Tensor:
        """Return the logits of n networks.

        Parameters
        ----------
        tensors : mapping of str to Tensor of shape (n, *shape)
            One entry per tensor of the layout.
        x : Tensor of shape (n, b, *input shape)
            One batch per network; a batch that all networks share may be expanded.
        training : bool, default=False
            Whether batch normalisation uses the statistics of the batch and updates the
            running statistics in ``tensors`` in place.
        taps : dict of str to Tensor, optional
            Mapping to fill with the output features of each hidden layer, input side
            first. Do not change the features.

        Returns
        -------
        Tensor of shape (n, b, classes)
            Logits; of token networks, of shape (n, b, tokens, classes).
        """

    @abstractmethod
    def module(self) -> nn.Module:
        """Return one network as a torch module with torch's default initialisation."""

    @abstractmethod
    def init_bounds(self) -> Array:
        """Return the half-width (d,) of the uniform distribution of each initial weight."""

    def init_centre(self) -> Array:
        """Return the mean (d,) of each initial weight: 0, or 1 for normalisation scales."""
        return np.zeros(self.layout.d, np.float32)

    @property
    def inherits(self) -> Mapping[str, str]:
        """Mapping from the names of inherited tensors to their names in the parent.

        A run starts from these tensors of its parent; all other tensors are drawn anew.
        The default is all tensors, under the same names.
        """
        return {param.name: param.name for param in self.layout}

    @property
    @abstractmethod
    def activations(self) -> int:
        """Number of floats that training keeps per sample, for the memory estimate."""

    def init(self, generator: np.random.Generator) -> Array:
        """Draw the initial weights (d,) of one network, uniform around `init_centre`."""
        uniform = generator.random(self.layout.d, dtype=np.float32)
        return self.init_centre() + (2 * uniform - 1) * self.init_bounds()

    def config(self) -> dict[str, Any]:
        """Return JSON values from which `zoo.modules.build` makes the same architecture."""
        return {"name": self.name, **asdict(self)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make an architecture from the value of `config`; its name is ignored.

        Raises
        ------
        ValueError
            If the fields are not those of the family.
        """
        field_names = {field.name for field in fields(cls)}
        if set(config) - {"name"} != field_names:
            raise ValueError(
                f"Architecture {cls.name!r} takes the fields {sorted(field_names)}. Got "
                f"{sorted(set(config) - {'name'})}."
            )
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
        values.pop("name", None)
        return cls(**values)


def fan_in_bounds(layout: Layout) -> Array:
    """Return torch's default bounds of linear and convolutional layers: 1 / sqrt(fan in).

    A bias has the bound of the weight before it.
    """
    bounds, bound = np.zeros(layout.d, np.float32), 0.0
    for name, columns in layout.slices.items():
        shape = layout[name].shape
        if len(shape) > 1:
            bound = 1 / np.sqrt(np.prod(shape[1:]))
        bounds[columns] = bound
    return bounds
