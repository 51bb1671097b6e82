"""Ranking of networks by similarity to a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from catalog import CatalogError, LayoutMismatch, Population
from catalog.selection import Selection
from probes.text.aligned import TextAligned
from probes.text.bilinear import TextBilinear
from probes.text.encoder import Encoder
from probes.text.encoders import encoder_of

BLOCK = 256 << 20
"""Bytes of weights that are read at once from a selection."""


def search(
    probe: TextAligned,
    networks: Population | Selection,
    text: str,
    encoder: Encoder | None = None,
    rows: Sequence[tuple[str, int]] = (),
) -> pa.Table:
    """Rank networks by similarity to a text, the most similar first.

    Parameters
    ----------
    probe : TextBilinear, TextRidge or TextProbe
        Fitted probe.
    networks : Population or Selection
        Networks to rank; a selection is read in parts.
    text : str
        Text that is inserted into the template of the probe: "ankle boot", not a sentence.
    encoder : callable, optional
        Encoder of a probe that was fitted with a function.
    rows : sequence of (str, int)
        run_id and step of the training networks of a `TextBilinear`, in the order of its
        fit. These networks are ranked by the fit without them.

    Returns
    -------
    pyarrow.Table
        Table of the networks with the columns ``similarity``, the cosine, and ``left_out``,
        true for networks of ``rows`` whose similarity is of a fit without them.

    Raises
    ------
    CatalogError
        If the probe was not aligned to text.
    LayoutMismatch
        If the layout of the networks differs from that of the probe.
    """
    if not isinstance(probe, TextAligned):
        name = getattr(probe, "name", type(probe).__name__)
        raise CatalogError(
            f"The probe {name!r} is not aligned to text. 'phasezoo search TEXT --target "
            "COLUMN' fits a text probe to names of classes."
        )
    layout = networks.layout
    if probe.layout is not None and probe.layout.id != layout.id:
        raise LayoutMismatch(
            f"The probe was fitted on layout {probe.layout.id} and these networks have "
            f"{layout.id}. Select others, such as with --where \"arch_id = '...'\"."
        )
    reader = encoder_of(encoder or probe.encoder)
    similarities = []
    step = max(BLOCK // max(4 * layout.d, 1), 1)
    for start in range(0, len(networks), step):
        if isinstance(networks, Population):
            weights = networks.weights[start : start + step]
        else:
            part = networks.slice(start, min(step, len(networks) - start))
            weights = part.population().weights
        similarities.append(probe.similarity(weights, [text], reader)[:, 0])
    similarity, table = np.concatenate(similarities), networks.table
    left_out = np.zeros(len(similarity), bool)
    if rows and isinstance(probe, TextBilinear) and probe.left_out_ is not None:
        keys = zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
        row_of = {tuple(key): i for i, key in enumerate(rows)}
        fit_row = np.array([row_of.get(key, -1) for key in keys], np.int64)
        left_out = fit_row >= 0
        similarity[left_out] = probe.left_out_similarity([text], reader)[
            fit_row[left_out], 0
        ]
    table = table.append_column("similarity", pa.array(similarity))
    table = table.append_column("left_out", pa.array(left_out))
    return table.take(pa.array(np.argsort(-similarity, kind="stable")))
