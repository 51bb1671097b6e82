"""Layout of a weight matrix: tensor names, shapes and permutation symmetries.

Permutation symmetry is stored as data, after Git Re-Basin [1]_: every axis of every
tensor has a symbol or None, and axes with the same symbol are permuted together. The
symbols are stored with the weights, so aligning and permuting need no model code.

References
----------
.. [1] Ainsworth et al., 2022, arXiv:2209.04836. Difference: here the symbols are part of
   the stored layout, not of a per-data-set specification.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from catalog.axis_symbol import read_symbol
from catalog.dtypes import Array, dtype
from catalog.errors import LayoutMismatch, NotFound, closest
from catalog.names import content_id, is_unicode

_LIMIT = 1 << 50
ROLES = ("parameter", "buffer", "counter", "constant")


@dataclass(frozen=True)
class Param:
    """One named tensor of a network.

    Parameters
    ----------
    name : str
        Name of the tensor in the network's state dict.
    shape : tuple of int
        Shape of the tensor: ``()`` for a scalar; sizes may be 0.
    axes : tuple of (str or None), optional
        One permutation symbol per axis, or None for an axis that is not permuted, such
        as inputs, classes and kernel positions. ``"c*9"`` means that every unit of ``c``
        spans 9 consecutive positions, as after flattening channels. ``"head*8:qk"``
        means that the 8 positions of a head also permute among themselves, as units of
        ``qk`` and in each head independently. Default: None for every axis.
    dtype : str, default="float32"
        Name of the source dtype; see `catalog.dtypes`.
    role : {"parameter", "buffer", "counter", "constant"}, default="parameter"
        Role of the tensor. Parameters and buffers must be floating; they are columns of
        `Population.weights`. Counters and constants are kept in `Population.extra`.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[str | None, ...] = ()
    dtype: str = "float32"
    role: str = "parameter"

    def __post_init__(self) -> None:
        shape = tuple(int(s) for s in self.shape)
        axes = tuple(self.axes) or (None,) * len(shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axes", axes)
        if not isinstance(self.name, str) or not is_unicode(self.name):
            raise LayoutMismatch(
                f"The name of a tensor must be Unicode text. Got {self.name!r}."
            )
        if any(size < 0 for size in shape):
            raise LayoutMismatch(f"Tensor {self.name!r} has a negative size: {shape}.")
        if math.prod(max(size, 1) for size in shape) >= _LIMIT:
            raise LayoutMismatch(
                f"Tensor {self.name!r} of shape {shape} is too large: it must have fewer "
                "than 2^50 values."
            )
        if len(axes) != len(shape):
            raise LayoutMismatch(
                f"Tensor {self.name!r} has {len(shape)} axes {shape} but "
                f"{len(axes)} axis symbols {axes}; give one symbol or None per axis."
            )
        if self.role not in ROLES:
            raise LayoutMismatch(
                f"The role of {self.name!r} must be one of {ROLES}. Got {self.role!r}."
            )
        floating = dtype(self.dtype).floating
        if self.in_vector and not floating:
            raise LayoutMismatch(
                f"Tensor {self.name!r} is {self.dtype}, but a {self.role} must be "
                "floating. Give it the role 'counter' or 'constant'."
            )

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of the tensor in bytes, in its source dtype."""
        return self.size * dtype(self.dtype).storage.itemsize

    @property
    def in_vector(self) -> bool:
        """True if the values are columns of `Population.weights`."""
        return self.role in ("parameter", "buffer")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "axes": list(self.axes),
            "dtype": self.dtype,
            "role": self.role,
        }


@dataclass(frozen=True)
class Layout:
    """Tensors of a network, in the order of the weight vector.

    Parameters
    ----------
    params : tuple of Param
        Tensors, with distinct names.

    Raises
    ------
    LayoutMismatch
        If two tensors have the same name, or the axis symbols contradict each other, e.g.
        one symbol stands for two sizes.

    Examples
    --------
    >>> layout = Layout((Param("w", (2, 3), ("h", None)), Param("b", (2,), ("h",))))
    >>> layout.d, layout.slices["b"]
    (8, slice(6, 8, None))
    >>> layout.unflatten(layout.flatten({"w": np.ones((2, 3)), "b": np.zeros(2)}))["b"]
    array([0., 0.], dtype=float32)
    """

    params: tuple[Param, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", tuple(self.params))
        seen: set[str] = set()
        sizes: dict[str, tuple[int, str]] = {}  # units, and the first tensor with them
        homes: dict[str, tuple[str, int]] = {}  # by inner symbol: outer symbol and block
        for param in self.params:
            if param.name in seen:
                raise LayoutMismatch(f"Two tensors have the name {param.name!r}.")
            seen.add(param.name)
            for symbol, size in zip(param.axes, param.shape, strict=True):
                if symbol is None:
                    continue
                symbol, block, inner = read_symbol(symbol)
                units, rest = divmod(size, block)
                first_units, first_name = sizes.setdefault(symbol, (units, param.name))
                if rest or first_units != units:
                    raise LayoutMismatch(
                        f"Symbol {symbol!r} stands for {first_units} units in "
                        f"{first_name!r} and for {size / block:g} in {param.name!r}; axes "
                        "that are permuted together must have the same size."
                    )
                if inner and homes.setdefault(inner, (symbol, block)) != (symbol, block):
                    raise LayoutMismatch(
                        f"Symbol {inner!r} permutes within {symbol}*{block} in "
                        f"{param.name!r}, but within {homes[inner][0]}*{homes[inner][1]} "
                        "in an earlier tensor; rename one of the two symbols."
                    )
        if shared := sizes.keys() & homes.keys():
            raise LayoutMismatch(
                f"Symbol {min(shared)!r} stands both for units and for positions within "
                "the units of another symbol; rename one of the two symbols."
            )

    def __iter__(self) -> Iterator[Param]:
        return iter(self.params)

    def __len__(self) -> int:
        return len(self.params)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Param:
        if name not in self._by_name:
            raise NotFound(f"No tensor {name!r}. {closest(name, self._by_name)}")
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Param]:
        return {param.name: param for param in self.params}

    @cached_property
    def id(self) -> str:
        """Identifier derived from the content, so that equal layouts have equal ids."""
        return content_id(self.to_json(), 16)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Columns of each tensor in the weight matrix."""
        slices, start = {}, 0
        for param in self.params:
            if param.in_vector:
                slices[param.name] = slice(start, start + param.size)
                start += param.size
        return slices

    @cached_property
    def d(self) -> int:
        """Length of the weight vector."""
        return sum(param.size for param in self.params if param.in_vector)

    @property
    def extra(self) -> tuple[Param, ...]:
        """Tensors that are not in the weight vector."""
        return tuple(param for param in self.params if not param.in_vector)

    @property
    def symbols(self) -> dict[str, int]:
        """Number of units of each permutation symbol.

        For a symbol within the units of another symbol, such as ``qk`` of ``"head*8:qk"``,
        the number counts the positions in all these units together.
        """
        units = {}
        for param in self.params:
            for symbol, size in zip(param.axes, param.shape, strict=True):
                if symbol is not None:
                    name, block, inner = read_symbol(symbol)
                    units[name] = size // block
                    if inner is not None:
                        units[inner] = size
        return units

    @cached_property
    def homes(self) -> dict[str, tuple[str, int]]:
        """Outer symbol and positions per unit, by symbol within its units."""
        symbols = [read_symbol(s) for p in self.params for s in p.axes if s is not None]
        return {s.inner: (s.name, s.block) for s in symbols if s.inner is not None}

    def carriers(self, symbol: str) -> list[str]:
        """Return the names of the tensors that have a symbol on any axis."""
        return [
            param.name
            for param in self.params
            if any(s and symbol in read_symbol(s)[::2] for s in param.axes)
        ]

    def widened(self) -> Layout:
        """Return the layout with the 16-bit floats of the weight vector as float32.

        Averages and rescaled networks need this layout, because their values are not
        exact in 16 bits.
        """
        return Layout(
            tuple(
                replace(p, dtype="float32")
                if p.in_vector and dtype(p.dtype).storage.itemsize == 2
                else p
                for p in self.params
            )
        )

    def difference(self, other: Layout) -> str:
        """Describe the first difference of another layout, for errors; "" if equal."""
        for expected, actual in zip(self.params, other.params, strict=False):
            if expected != actual:
                if replace(expected, axes=actual.axes) == actual:
                    return (
                        f"axes of {expected.name!r} {actual.axes}, expected {expected.axes}"
                    )
                return (
                    f"{actual.name!r} {actual.shape} {actual.dtype} {actual.role}, "
                    f"expected {expected.name!r} {expected.shape} {expected.dtype} "
                    f"{expected.role}"
                )
        if len(self) != len(other):
            return f"{len(other)} tensors, expected {len(self)}"
        return ""

    @property
    def nbytes(self) -> int:
        """Size of one stored network in bytes."""
        return sum(param.nbytes for param in self.params)

    def flatten(self, tensors: Mapping[str, Any]) -> Array:
        """Concatenate named tensors of shape ``(*shape)`` into a weight vector of length d.

        Tensors that all have a leading axis of n networks give a matrix ``(n, d)``.

        Raises
        ------
        LayoutMismatch
            If a tensor is missing or has the wrong shape.
        """
        parts, lead = [], None
        for param in self.params:
            if not param.in_vector:
                continue
            if param.name not in tensors:
                raise LayoutMismatch(
                    f"Tensor {param.name!r} {param.shape} is missing. "
                    f"{closest(param.name, tensors)}"
                )
            value = np.asarray(tensors[param.name], dtype=np.float32)
            leading_axes = value.ndim - len(param.shape)
            if value.shape[max(leading_axes, 0) :] != param.shape or (
                leading_axes not in (0, 1)
            ):
                raise LayoutMismatch(
                    f"Tensor {param.name!r} has shape {value.shape}, expected "
                    f"{param.shape}, or the same with a leading axis of n networks."
                )
            if lead is not None and value.shape[:leading_axes] != lead:
                raise LayoutMismatch(
                    f"Tensor {param.name!r} holds {value.shape[:leading_axes]} networks, "
                    f"but the tensors before it hold {lead}."
                )
            lead = value.shape[:leading_axes]
            parts.append(value.reshape(*lead, param.size))
        return np.concatenate(parts, axis=-1) if parts else np.zeros(0, np.float32)

    def unflatten(self, vectors: Array) -> dict[str, Array]:
        """Return a view of each tensor in ``(d,)`` or ``(n, d)`` float32 vectors.

        Raises
        ------
        LayoutMismatch
            If the last axis does not have length d.
        """
        if vectors.shape[-1:] != (self.d,):
            raise LayoutMismatch(
                f"The last axis of the weights must have length d = {self.d}. Got shape "
                f"{vectors.shape}."
            )
        lead = vectors.shape[:-1]
        return {
            name: vectors[..., columns].reshape((*lead, *self[name].shape))
            for name, columns in self.slices.items()
        }

    def to_json(self) -> list[dict[str, Any]]:
        """Return the tensors as JSON values."""
        return [param.to_json() for param in self.params]

    @classmethod
    def from_json(cls, value: list[dict[str, Any]]) -> Layout:
        """Build a layout from the value of `to_json`."""
        return cls(
            tuple(
                Param(
                    p["name"],
                    tuple(p["shape"]),
                    tuple(p["axes"]),
                    p["dtype"],
                    p["role"],
                )
                for p in value
            )
        )
