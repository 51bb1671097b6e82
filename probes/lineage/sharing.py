"""Comparison of the tensors of two networks: identical, equal up to rounding, or different.

A layer that was frozen in fine-tuning is identical in parent and child; a layer that was
stored in half precision is equal up to the rounding of that type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from catalog import Layout, LayoutMismatch
from catalog.dtypes import Array

ROUNDINGS = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Largest relative error of one rounding, half a unit in the last place; finest first."""

SUBNORMAL = {"float32": 2.0**-150, "float16": 2.0**-25, "bfloat16": 2.0**-134}
"""Largest absolute error of one rounding, for subnormal numbers."""


@dataclass(frozen=True)
class Shared:
    """Similarity of one tensor in two networks.

    Attributes
    ----------
    name : str
        Name of the tensor.
    kind : str
        ``"identical"``, ``"different"``, or the type (such as ``"float16"``) up to whose
        rounding all values agree.
    distance : float
        Norm of the difference over the root of the summed squared norms: 0 for copies,
        about 1 for unrelated networks.
    """

    name: str
    kind: str
    distance: float

    @property
    def frozen(self) -> bool:
        """True if no difference by training is visible."""
        return self.kind != "different"


def shared_tensors(
    first: Mapping[str, Array], second: Mapping[str, Array]
) -> tuple[Shared, ...]:
    """Compare the tensors that two networks have in common, by name and shape.

    Parameters
    ----------
    first, second : mapping of str to ndarray
        State dicts of any floating or integer types.

    Raises
    ------
    LayoutMismatch
        If the networks have no tensor in common.

    Examples
    --------
    >>> a = {"w": np.array([1.0, 0.1], np.float32), "b": np.zeros(2)}
    >>> b = {"w": a["w"].astype(np.float16), "b": np.ones(2)}
    >>> [(s.name, s.kind) for s in shared_tensors(a, b)]
    [('w', 'float16'), ('b', 'different')]
    """
    common = [n for n in first if n in second and first[n].shape == second[n].shape]
    if not common:
        raise LayoutMismatch(
            "The two networks have no tensor of one name and shape in common. If names "
            "differ, use probes.lineage.find_reuse, which compares by shape."
        )
    return tuple(_compared(name, first[name], second[name]) for name in common)


def frozen_tensors(X: Array, parents: Array, layout: Layout) -> dict[str, Array]:
    """Return, for each tensor, which networks (n,) share it with their parent.

    Tensors are shared if they are identical or equal up to rounding.

    Parameters
    ----------
    X, parents : ndarray of shape (n, d)
        Weights of the networks, and of the parent of each.
    """
    if X.shape != parents.shape or X.shape[1] != layout.d:
        raise LayoutMismatch(
            f"Networks and parents must both be (n, {layout.d}). Got {X.shape} and "
            f"{parents.shape}."
        )
    frozen = {}
    for name, columns in layout.slices.items():
        pairs = zip(X[:, columns], parents[:, columns], strict=True)
        frozen[name] = np.array([_rounding(a, b) != "different" for a, b in pairs], bool)
    return frozen


def _compared(name: str, a: Array, b: Array) -> Shared:
    values = [v.astype(np.float64).ravel() for v in (a, b)]
    scale = float(np.sqrt(values[0] @ values[0] + values[1] @ values[1]))
    difference = float(np.linalg.norm(values[0] - values[1]))
    return Shared(name, _rounding(a, b), difference / scale if scale else 0.0)


def _rounding(a: Array, b: Array) -> str:
    if (a == b).all():
        return "identical"
    first, second = a.astype(np.float64), b.astype(np.float64)
    difference = np.abs(first - second)
    size = np.maximum(np.abs(first), np.abs(second))
    for kind, relative in ROUNDINGS.items():
        if (difference <= relative * size + SUBNORMAL[kind]).all():
            return kind
    return "different"
