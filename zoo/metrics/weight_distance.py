"""Distance between the weights of a cell's seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from catalog.dtypes import Array
from catalog.schema import Column
from zoo.engine.stack_weights import parameter_columns
from zoo.landscape.pair_means import pair_means
from zoo.metric import Metric
from zoo.networks import Networks, Progress

CHUNK_FLOATS = 1 << 24
"""Number of differences in memory at once."""


@dataclass(frozen=True)
class WeightDistance(Metric):
    """Euclidean distance between the parameters of every two seeds of a cell.

    Only parameters are compared; buffers, such as the statistics of batch normalisation,
    are left out. Units are not aligned, so two networks that differ by a permutation of
    hidden units have a positive distance.

    The relative distance is the distance divided by the geometric mean of the two norms:
    about sqrt(2) for independent weights of equal norm, 0 for equal weights.
    """

    name = "weight_distance"
    version = 2
    summary = "Euclidean distance between the parameters of the seeds of a cell"
    columns = (
        Column(
            "weight_distance",
            pa.float64(),
            "of weights",
            "Euclidean distance of the parameters, buffers left out; mean over the "
            "cell's other seeds",
        ),
        Column(
            "weight_distance_se",
            pa.float64(),
            "of weights",
            "standard error of the cell's mean weight_distance: jackknife over its seeds, "
            "3 at least",
        ),
        Column(
            "weight_distance_relative",
            pa.float64(),
            "ratio",
            "distance over the geometric mean of the two norms; mean over the cell's "
            "other seeds",
        ),
        Column(
            "weight_distance_relative_se",
            pa.float64(),
            "ratio",
            "standard error of the cell's mean weight_distance_relative: jackknife over "
            "its seeds, 3 at least",
        ),
    )
    paired = True

    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Return values (n,) by column; ``seed`` has no effect."""
        pairs = networks.pairs()
        trained = parameter_columns(networks.architecture.layout)
        parameters = networks.weights[:, trained].astype(np.float32)
        distances, relative = np.empty(len(pairs)), np.full(len(pairs), np.nan)
        size = max(1, CHUNK_FLOATS // max(1, parameters.shape[1]))
        with np.errstate(invalid="ignore"):  # weights of diverged networks
            norms = np.sqrt(np.square(parameters, dtype=np.float64).sum(1))
            for start in range(0, len(pairs), size):
                i, j = pairs[start : start + size].T
                difference = parameters[i].astype(np.float64) - parameters[j]
                distances[start : start + size] = np.sqrt(np.square(difference).sum(1))
                progress(min(1.0, (start + size) / len(pairs)))
            means = np.sqrt(norms[pairs[:, 0]] * norms[pairs[:, 1]])
            np.divide(distances, means, out=relative, where=means > 0)
        out = {}
        for name, values in (
            ("weight_distance", distances),
            ("weight_distance_relative", relative),
        ):
            out[name], out[f"{name}_se"] = pair_means(pairs, values, len(networks))
        return out

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: about one forward pass per pair, though no network is run."""
        return pairs / 3


weight_distance = WeightDistance()
