"""Statistics of the weights of each network, tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from catalog import Layout
from catalog.dtypes import Array
from probes.layers import Layer, LowRank, chosen_layers, layers_of
from probes.statistics.moments import MOMENTS, moments
from probes.statistics.spectrum import SPECTRAL, low_rank_moments, spectral, squares

DEPTHS = ("first", "last", "mean")
"""Aggregates over depth: the first layer, the last layer, and the mean of all layers."""


class WeightStatistics(TransformerMixin, BaseEstimator):
    """Transformer of weights to statistics of every tensor.

    Every tensor has the seven statistics of [1]_, and every matrix six more of its singular
    values, see `probes.statistics.spectrum.spectral`. A low-rank update has only the mean,
    the standard deviation and the six statistics of singular values, all of the product of
    its factors.

    The statistics do not change if the units of a network are reordered: the values of each
    tensor change only their order, and its singular values stay the same.

    Parameters
    ----------
    layout : Layout, optional
        Names and shapes of the tensors in the columns of X. Default: one tensor of d
        values.
    layer : str or sequence of str, optional
        Names of the tensors to read. Default: all, including vectors.
    spectrum : bool, default=True
        Add the six statistics of singular values, which are most of the cost of large
        matrices: O(k^3) with k their smaller side.
    aggregate : bool, default=False
        Aggregate the statistics of matrices, and of biases, over depth: those of the first
        and of the last layer, and the mean. Networks of different depth then have the same
        statistics. Other vectors, such as those of normalisation, are left out.

    Attributes
    ----------
    n_features_in_ : int
        Number d of weights of a network.
    layers_ : tuple of Layer
        Tensors whose statistics are computed.

    References
    ----------
    .. [1] Unterthiner et al. 2020, arXiv:2002.11448.

    Examples
    --------
    >>> from catalog import Param
    >>> layout = Layout((Param("w", (4, 3)), Param("b", (4,))))
    >>> statistics = WeightStatistics(layout).fit(np.ones((2, 16), np.float32))
    >>> statistics.transform(np.ones((2, 16), np.float32)).shape
    (2, 20)
    >>> statistics.get_feature_names_out()[7:9].tolist()
    ['w spectral_norm', 'w frobenius_norm']
    """

    def __init__(
        self,
        layout: Layout | None = None,
        layer: str | Sequence[str] | None = None,
        spectrum: bool = True,
        aggregate: bool = False,
    ) -> None:
        self.layout = layout
        self.layer = layer
        self.spectrum = spectrum
        self.aggregate = aggregate

    def fit(self, X: Array, y: Array | None = None) -> Self:
        """Check the layout; there is nothing to fit.

        Raises
        ------
        LayoutMismatch
            If the layout does not match X.
        """
        X = validate_data(self, X, dtype=(np.float32, np.float64))
        self.layers_: tuple[Layer, ...] = self._chosen(X.shape[1])
        return self

    def transform(self, X: Array) -> Array:
        """Compute statistics (n, p) of weights (n, d), named by `get_feature_names_out`."""
        check_is_fitted(self, "layers_")
        X = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        parts = [self._statistics(layer, X) for layer in self.layers_]
        if not self.aggregate:
            return np.concatenate(parts, axis=1)
        return np.concatenate(
            [
                part
                for members in self._by_kind().values()
                for part in _over_depth([parts[i] for i in members])
            ],
            axis=1,
        )

    def get_feature_names_out(self, input_features: Array | None = None) -> Array:
        """Return names (p,) of tensor and statistic, or of kind, depth and statistic."""
        check_is_fitted(self, "layers_")
        if not self.aggregate:
            names = [f"{x.name} {s}".strip() for x in self.layers_ for s in self._names(x)]
        else:
            names = [
                f"{kind} {depth} {statistic}"
                for kind, members in self._by_kind().items()
                for depth in DEPTHS
                for statistic in self._names(self.layers_[members[0]])
            ]
        return np.array(names, dtype=object)

    def _chosen(self, d: int) -> tuple[Layer, ...]:
        if self.layout is None or self.layer is not None:
            return chosen_layers(self.layout, self.layer, d)
        chosen_layers(self.layout, None, d)  # raises if the layout does not match
        layers = layers_of(self.layout, vectors=True)
        return tuple(x for x in layers if not self.aggregate or self._kind(x) != "vector")

    def _names(self, layer: Layer) -> tuple[str, ...]:
        of_values = MOMENTS[:2] if isinstance(layer, LowRank) else MOMENTS
        return (*of_values, *(SPECTRAL if self._has_spectrum(layer) else ()))

    def _has_spectrum(self, layer: Layer) -> bool:
        return isinstance(layer, LowRank) or (
            self.spectrum and self._kind(layer) == "matrix"
        )

    def _statistics(self, layer: Layer, X: Array) -> Array:
        eigenvalues = squares(layer, X) if self._has_spectrum(layer) else None
        if isinstance(layer, LowRank):
            assert eigenvalues is not None
            values_statistics = low_rank_moments(layer, X, eigenvalues)
        else:
            values_statistics = moments(X[:, layer.columns])
        if eigenvalues is None:
            return values_statistics
        return np.concatenate([values_statistics, spectral(eigenvalues)], axis=1)

    def _by_kind(self) -> dict[str, list[int]]:
        kinds: dict[str, list[int]] = {}
        for i, layer in enumerate(self.layers_):
            kinds.setdefault(self._kind(layer), []).append(i)
        return kinds

    def _kind(self, layer: Layer) -> str:
        """Return the kind of a layer for aggregation; "vector" is left out."""
        if isinstance(layer, LowRank):
            return "update"
        if self.layout is not None and len(self.layout[layer.name].shape) > 1:
            return "matrix"
        return "bias" if layer.name.endswith("bias") else "vector"


def _over_depth(parts: Sequence[Array]) -> tuple[Array, Array, Array]:
    return parts[0], parts[-1], np.mean(parts, axis=0)
