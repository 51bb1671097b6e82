"""Which layer to read, chosen on training networks alone."""

from __future__ import annotations

import numpy as np

from catalog import Layout
from catalog.dtypes import Array
from probes.layers import layers_of
from probes.linear import LinearProbe


def best_layer(X: Array, y: Array, groups: Array, layout: Layout, task: str) -> str:
    """The matrix from which exact ridge predicts held-out groups best.

    For other probes a proxy: it costs one Gram matrix and one eigendecomposition a layer,
    where theirs would cost a whole fit.
    """
    scores = {}
    for layer in layers_of(layout) or layers_of(layout, vectors=True):
        fit = LinearProbe(task, layout, layer.name).fit(X, y, groups)
        scores[layer.name] = float(np.mean(fit.path_, axis=1).max())
    return max(scores, key=lambda name: scores[name])
