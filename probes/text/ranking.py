"""Ranking networks by how near they are to a text."""

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
    """Networks by similarity to a text, the nearest first.

    Parameters
    ----------
    probe : TextBilinear, TextRidge or TextProbe
        Fitted.
    networks : Population or Selection
        Of a selection a part is read at a time.
    text : str
        Put into the template of the probe: "ankle boot", not a sentence.
    encoder : callable, optional
        Of a probe whose encoder has no name.
    rows : sequence of (str, int)
        run_id and step of the networks that a `TextBilinear` learnt from, in the order of
        its fit. They are ranked as if they were new: by the fit without each of them.

    Returns
    -------
    pyarrow.Table
        The table of the networks, a column ``similarity`` of cosines, and ``left_out``,
        whether that is of a fit without the network, which is in ``rows``.

    Raises
    ------
    CatalogError
        If the probe was not aligned to text.
    LayoutMismatch
        If networks have another layout than the probe was fitted on.
    """
    if not isinstance(probe, TextAligned):
        name = getattr(probe, "name", type(probe).__name__)
        raise CatalogError(
            f"The probe {name!r} knows no text. 'phasezoo search TEXT --target COLUMN' "
            "fits one that does, to names of classes."
        )
    layout = networks.layout
    if probe.layout is not None and probe.layout.id != layout.id:
        raise LayoutMismatch(
            f"The probe was fitted on layout {probe.layout.id} and these networks have "
            f"{layout.id}. Select others, such as with --where \"arch_id = '...'\"."
        )
    reader = encoder_of(encoder or probe.encoder)
    found = []
    step = max(BLOCK // max(4 * layout.d, 1), 1)
    for start in range(0, len(networks), step):
        if isinstance(networks, Population):
            weights = networks.weights[start : start + step]
        else:
            part = networks.slice(start, min(step, len(networks) - start))
            weights = part.population().weights
        found.append(probe.similarity(weights, [text], reader)[:, 0])
    similarity, table = np.concatenate(found), networks.table
    left_out = np.zeros(len(similarity), bool)
    if rows and isinstance(probe, TextBilinear) and probe.left_out_ is not None:
        keys = zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)
        known = {tuple(key): i for i, key in enumerate(rows)}
        place = np.array([known.get(key, -1) for key in keys], np.int64)
        left_out = place >= 0
        similarity[left_out] = probe.left_out_similarity([text], reader)[place[left_out], 0]
    table = table.append_column("similarity", pa.array(similarity))
    table = table.append_column("left_out", pa.array(left_out))
    return table.take(pa.array(np.argsort(-similarity, kind="stable")))
