"""What a probe reads of stored networks: their weights, or statistics of any layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import Layout, LayoutMismatch, Selection
from catalog.catalog import Catalog
from catalog.dtypes import Array, round_to_float32, widen
from probes.fitting.selection import layouts
from probes.layers import LowRank, chosen_layers, layers_of
from probes.statistics.weight_statistics import WeightStatistics

_BYTES = 256 << 20
"""Of weights that are read at a time."""


@dataclass(frozen=True)
class ProbeInputs:
    """What is known of n networks before any target is.

    Attributes
    ----------
    X : ndarray of shape (n, d) or (n, p)
        Weights, or statistics; the number of the zoo comes before relative ones.
    layout : Layout or None
        The one of all networks.
    statistics : tuple of str
        Names of the columns of X; empty where these are weights.
    aggregate : bool
        Whether statistics are put together over depth.
    """

    X: Array
    layout: Layout | None
    statistics: tuple[str, ...] = ()
    aggregate: bool = False


def weights(
    catalog: Catalog, table: pa.Table, layer: str | Sequence[str] | None = None
) -> ProbeInputs:
    """Read the weights (n, d) of rows of one layout, or only some tensors of them.

    Parameters
    ----------
    layer : str or sequence of str, optional
        As of a probe; nothing else is read then, and is in the layout.

    Raises
    ------
    LayoutMismatch
        If the rows have several layouts.
    """
    selection = selected_networks(catalog, table)
    layout = part_of(selection.layout, layer)
    (found,) = _blocks(selection, layout, len(table))
    return ProbeInputs(found, layout)


def weight_chunks(catalog: Catalog, table: pa.Table, layout: Layout) -> Iterator[Array]:
    """Weights of rows of any layouts that have these tensors, 256 MB at a time."""
    step = max(_BYTES // max(4 * layout.d, 1), 1)
    yield from _blocks(selected_networks(catalog, table), layout, step)


def part_of(layout: Layout, layer: str | Sequence[str] | None) -> Layout:
    """The tensors that a probe reads: all, or those of its layers."""
    if layer is None:
        return layout
    names: list[str] = []
    for found in chosen_layers(layout, layer, layout.d):
        parts = (found.up, found.down) if isinstance(found, LowRank) else (found,)
        names += [part.name for part in parts]
    return Layout(tuple(param for param in layout if param.name in names))


def weight_statistics(
    catalog: Catalog,
    table: pa.Table,
    params: Mapping[str, Any],
) -> ProbeInputs:
    """Read statistics (n, p) of rows of any layouts, 256 MB of weights at a time.

    Where layouts have the same tensors, in any size, these are the statistics of each;
    else, or if ``params["aggregate"]``, those over depth that all layouts have.

    Parameters
    ----------
    params : mapping
        ``layer``, ``spectrum`` and ``aggregate`` of `StatisticsProbe`.
    """
    found = layouts(table)
    known = {arch: catalog.layout(arch) for arch in found}
    aggregate = bool(params["aggregate"])
    if len({_tensors(layout) for layout in known.values()}) > 1:
        aggregate = True
    parts: dict[str, tuple[Array, Array]] = {}
    for arch, rows in found.items():
        reader = WeightStatistics(
            known[arch], params["layer"], params["spectrum"], aggregate
        )
        own = table.take(pa.array(rows))
        read = [
            reader.fit(w).transform(w) for w in weight_chunks(catalog, own, known[arch])
        ]
        parts[arch] = np.concatenate(read), reader.get_feature_names_out()
    shared = _shared([names for _, names in parts.values()])
    X = np.empty((len(table), len(shared)))
    for arch, (values, names) in parts.items():
        place = {name: i for i, name in enumerate(names)}
        X[found[arch]] = values[:, [place[name] for name in shared]]
    ids = {layout.id for layout in known.values()}
    one = next(iter(known.values())) if len(ids) == 1 else None
    return ProbeInputs(X, one, tuple(shared), aggregate)


def _blocks(selection: Selection, layout: Layout, step: int) -> Iterator[Array]:
    for first in range(0, len(selection), step):
        part = selection.slice(first, step)
        found = np.empty((len(part), layout.d), np.float32)
        for name, columns in layout.slices.items():
            param, values = layout[name], part.tensor(name).reshape(len(part), -1)
            wide = param.dtype == "float64"
            found[:, columns] = (
                round_to_float32(values) if wide else widen(values, param.dtype)
            )
        yield found


def selected_networks(catalog: Catalog, table: pa.Table) -> Selection:
    """The checkpoints of some rows, in their order."""
    return catalog.select(table.select(["run_id", "step"]))


def _tensors(layout: Layout) -> tuple[tuple[str, int], ...]:
    """What must agree for statistics of single tensors to mean the same."""
    return tuple((x.name, min(len(x.shape), 2)) for x in layout if x.in_vector) + tuple(
        (x.name, 0) for x in layers_of(layout) if x.name not in layout
    )


def _shared(names: list[Array]) -> list[str]:
    shared = [name for name in names[0] if all(name in other for other in names[1:])]
    if not shared:
        raise LayoutMismatch(
            "The selected layouts have no statistic in common, such as low-rank updates "
            "and whole matrices. Narrow --where."
        )
    return shared
