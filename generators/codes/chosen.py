"""Selection of the modelled columns by globs of tensors; variances as logarithms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from catalog import Layout, NotFound
from catalog.dtypes import Array
from catalog.errors import closest


@dataclass(frozen=True)
class Chosen:
    """Columns of the weight matrix that are modelled.

    Attributes
    ----------
    columns : ndarray of int64
        Indices of the modelled columns.
    logarithm : ndarray of bool, as long as ``columns``
        Columns that are modelled by their logarithm: buffers that are positive in every
        training network, such as the variances of BatchNorm, and must stay positive.
    whole : bool
        Whether all columns are modelled.
    """

    columns: Array
    logarithm: Array
    whole: bool

    @classmethod
    def of(cls, X: Array, layout: Layout, tensors: str | Sequence[str] = "*") -> Chosen:
        """Select the columns of tensors whose names match one of the globs.

        Raises
        ------
        NotFound
            If a glob matches no tensor of the weight vector.
        """
        globs = (tensors,) if isinstance(tensors, str) else tuple(tensors)
        names = list(layout.slices)
        for glob in globs:
            if not any(fnmatchcase(name, glob) for name in names):
                raise NotFound(f"No tensor matches {glob!r}. {closest(glob, names)}")
        columns, logarithm = [], []
        for name, span in layout.slices.items():
            if any(fnmatchcase(name, glob) for glob in globs):
                columns.append(np.arange(span.start, span.stop))
                is_buffer = layout[name].role == "buffer"
                positive = is_buffer and bool((X[:, span] > 0).all())
                logarithm.append(np.full(layout[name].size, positive))
        all_columns = np.concatenate(columns)
        return cls(all_columns, np.concatenate(logarithm), len(all_columns) == layout.d)

    def take(self, X: Array) -> Array:
        """Return the modelled values (n, c); X itself if all are taken unchanged."""
        if self.whole and not self.logarithm.any():
            return X
        values = X[:, self.columns]
        if self.logarithm.any():
            values[:, self.logarithm] = np.log(values[:, self.logarithm])
        return values

    def put(self, values: Array, X: Array | None = None) -> Array:
        """Return weights (n, d) with the modelled values; the other columns come from X."""
        values = values.copy()
        values[:, self.logarithm] = np.exp(values[:, self.logarithm])
        if self.whole:
            return values
        if X is None:
            raise ValueError(
                "Some tensors are not modelled: pass networks to copy them from."
            )
        weights = X.copy()
        weights[:, self.columns] = values
        return weights
