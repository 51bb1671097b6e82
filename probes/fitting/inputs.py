"""Inputs of probes: weights of stored networks, or statistics for any layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import Layout, LayoutMismatch, Selection
from catalog.catalog import Catalog
from catalog.checkpoints import layouts
from catalog.dtypes import Array, round_to_float32, widen
from probes.layers import LowRank, chosen_layers, layers_of
from probes.statistics.weight_statistics import WeightStatistics

_BYTES = 256 << 20
"""Bytes of weights that are read at a time."""


@dataclass(frozen=True)
class ProbeInputs:
    """Inputs of n networks to a probe.

    Attributes
    ----------
    X : ndarray of shape (n, d) or (n, p)
        Weights, or statistics; the first column is the number of the zoo if statistics are
        relative.
    layout : Layout or None
        Layout of all networks; None if layouts differ.
    statistics : tuple of str
        Names of the columns of X; empty if the columns are weights.
    aggregate : bool
        True if statistics are aggregated over depth.
    """

    X: Array
    layout: Layout | None
    statistics: tuple[str, ...] = ()
    aggregate: bool = False


def weights(
    catalog: Catalog, table: pa.Table, layer: str | Sequence[str] | None = None
) -> ProbeInputs:
    """Read the weights (n, d) of rows of one layout, or only some of their tensors.

    Parameters
    ----------
    layer : str or sequence of str, optional
        Layers as for a probe; only these are read and listed in the layout.

    Raises
    ------
    LayoutMismatch
        If the rows have several layouts.
    """
    selection = selected_networks(catalog, table)
    layout = part_of(selection.layout, layer)
    (X,) = _blocks(selection, layout, len(table))
    return ProbeInputs(X, layout)


def weight_chunks(catalog: Catalog, table: pa.Table, layout: Layout) -> Iterator[Array]:
    """Yield the weights of rows whose layouts have these tensors, 256 MB at a time."""
    step = max(_BYTES // max(4 * layout.d, 1), 1)
    yield from _blocks(selected_networks(catalog, table), layout, step)


def part_of(layout: Layout, layer: str | Sequence[str] | None) -> Layout:
    """Return the tensors that a probe reads: all, or those of its layers."""
    if layer is None:
        return layout
    names: list[str] = []
    for selected in chosen_layers(layout, layer, layout.d):
        parts = (
            (selected.up, selected.down) if isinstance(selected, LowRank) else (selected,)
        )
        names += [part.name for part in parts]
    return Layout(tuple(param for param in layout if param.name in names))


def weight_statistics(
    catalog: Catalog,
    table: pa.Table,
    params: Mapping[str, Any],
) -> ProbeInputs:
    """Read statistics (n, p) of rows of any layouts, 256 MB of weights at a time.

    If all layouts have the same tensors, in any size, the statistics are those of each
    tensor. Otherwise, or if ``params["aggregate"]``, they are the statistics over depth
    that all layouts have.

    Parameters
    ----------
    params : mapping
        Parameters ``layer``, ``spectrum`` and ``aggregate`` of `StatisticsProbe`.
    """
    rows_of = layouts(table)
    layout_of = {arch: catalog.layout(arch) for arch in rows_of}
    aggregate = bool(params["aggregate"])
    if len({_tensors(layout) for layout in layout_of.values()}) > 1:
        aggregate = True
    parts: dict[str, tuple[Array, Array]] = {}
    for arch, rows in rows_of.items():
        reader = WeightStatistics(
            layout_of[arch], params["layer"], params["spectrum"], aggregate
        )
        arch_table = table.take(pa.array(rows))
        blocks = [
            reader.fit(w).transform(w)
            for w in weight_chunks(catalog, arch_table, layout_of[arch])
        ]
        parts[arch] = np.concatenate(blocks), reader.get_feature_names_out()
    shared = _shared([names for _, names in parts.values()])
    X = np.empty((len(table), len(shared)))
    for arch, (values, names) in parts.items():
        place = {name: i for i, name in enumerate(names)}
        X[rows_of[arch]] = values[:, [place[name] for name in shared]]
    ids = {layout.id for layout in layout_of.values()}
    common_layout = next(iter(layout_of.values())) if len(ids) == 1 else None
    return ProbeInputs(X, common_layout, tuple(shared), aggregate)


def _blocks(selection: Selection, layout: Layout, step: int) -> Iterator[Array]:
    for first in range(0, len(selection), step):
        part = selection.slice(first, step)
        block = np.empty((len(part), layout.d), np.float32)
        for name, columns in layout.slices.items():
            param, values = layout[name], part.tensor(name).reshape(len(part), -1)
            wide = param.dtype == "float64"
            block[:, columns] = (
                round_to_float32(values) if wide else widen(values, param.dtype)
            )
        yield block


def selected_networks(catalog: Catalog, table: pa.Table) -> Selection:
    """Select the checkpoints of some rows, in the order of the rows."""
    return catalog.select(table.select(["run_id", "step"]))


def _tensors(layout: Layout) -> tuple[tuple[str, int], ...]:
    """Return what layouts must share so that statistics of tensors correspond."""
    return tuple((x.name, min(len(x.shape), 2)) for x in layout if x.in_vector) + tuple(
        (x.name, 0) for x in layers_of(layout) if x.name not in layout
    )


def _shared(names: list[Array]) -> list[str]:
    shared = [name for name in names[0] if all(name in other for other in names[1:])]
    if not shared:
        raise LayoutMismatch(
            "The selected layouts have no statistic in common, as is the case for low-rank "
            "updates and full matrices. Narrow --where."
        )
    return shared
