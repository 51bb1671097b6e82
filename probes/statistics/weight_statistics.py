"""Statistics of the weights of each network, tensor by tensor: small, fast, any width."""

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
"""What is kept over depth: the first layer, the last, and the mean of all."""


class WeightStatistics(TransformerMixin, BaseEstimator):
    """Statistics of every tensor of every network.

    The classic seven [1]_ of every tensor, and of every matrix six more of its singular
    values, see `probes.statistics.spectrum.spectral`. Of a low-rank update only the mean,
    the standard deviation and the six, of the product of its factors.

    They do not change when the units of a network are reordered: each tensor's values
    stay the same but for their order, and its singular values do.

    Parameters
    ----------
    layout : Layout, optional
        What the columns of X mean. Default: one tensor of d values.
    layer : str or sequence of str, optional
        Tensors to read. Default: all, vectors too.
    spectrum : bool, default=True
        Whether to add the six of singular values, most of the cost of large matrices:
        O(k^3) with k their smaller side.
    aggregate : bool, default=False
        Put statistics of matrices, and of biases, together over depth: of the first, of
        the last, and their mean. Networks of different depth then have the same
        statistics. Other vectors, such as those of normalisation, are left out.

    Attributes
    ----------
    n_features_in_ : int
    layers_ : tuple of Layer

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
        """Check the layout; nothing is learnt.

        Raises
        ------
        LayoutMismatch
            If the layout does not fit X.
        """
        X = validate_data(self, X, dtype=(np.float32, np.float64))
        self.layers_: tuple[Layer, ...] = self._chosen(X.shape[1])
        return self

    def transform(self, X: Array) -> Array:
        """Statistics (n, p) of weights (n, d), in the order of `get_feature_names_out`."""
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
        """Names (p,): tensor and statistic, or kind, depth and statistic."""
        check_is_fitted(self, "layers_")
        if not self.aggregate:
            found = [f"{x.name} {s}".strip() for x in self.layers_ for s in self._names(x)]
        else:
            found = [
                f"{kind} {depth} {statistic}"
                for kind, members in self._by_kind().items()
                for depth in DEPTHS
                for statistic in self._names(self.layers_[members[0]])
            ]
        return np.array(found, dtype=object)

    def _chosen(self, d: int) -> tuple[Layer, ...]:
        if self.layout is None or self.layer is not None:
            return chosen_layers(self.layout, self.layer, d)
        chosen_layers(self.layout, None, d)  # refuses what does not fit
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
        values = squares(layer, X) if self._has_spectrum(layer) else None
        if isinstance(layer, LowRank):
            assert values is not None
            found = low_rank_moments(layer, X, values)
        else:
            found = moments(X[:, layer.columns])
        if values is None:
            return found
        return np.concatenate([found, spectral(values)], axis=1)

    def _by_kind(self) -> dict[str, list[int]]:
        kinds: dict[str, list[int]] = {}
        for i, layer in enumerate(self.layers_):
            kinds.setdefault(self._kind(layer), []).append(i)
        return kinds

    def _kind(self, layer: Layer) -> str:
        """What is put together over depth; "vector" is left out."""
        if isinstance(layer, LowRank):
            return "update"
        if self.layout is not None and len(self.layout[layer.name].shape) > 1:
            return "matrix"
        return "bias" if layer.name.endswith("bias") else "vector"


def _over_depth(parts: Sequence[Array]) -> tuple[Array, Array, Array]:
    return parts[0], parts[-1], np.mean(parts, axis=0)
