"""Selections and populations as map-style datasets for training loops."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from catalog import CatalogError, LayoutMismatch, NotFound, Population, Selection
from catalog.dtypes import round_to_float32, widen
from catalog.errors import closest
from catalog.quoting import identifier
from zoo.modules.tensors import as_torch, to_torch

GIVES = ("vector", "state_dict")


class NetworkDataset(Dataset[Any]):
    """Map-style dataset of networks, optionally with a target value of each network.

    Parameters
    ----------
    networks : Selection or Population
        Networks of the dataset. A selection reads a network from disk on access (about
        20 us); a population is in memory and is shared between workers, not copied.
    target : str, optional
        Column of numbers or truth values without nulls.
    gives : {"vector", "state_dict"}, default="vector"
        Form of a network: a float32 tensor of shape (d,), or tensors by name in their own
        dtypes.
    lossy : bool, default=False
        Whether to round float64 values that float32 cannot represent instead of raising.

    Raises
    ------
    NotFound
        If there is no such column.
    CatalogError
        If a target is null, or ``gives`` is none of its options.
    LayoutMismatch
        If a target is not a number, or vectors of several layouts are requested.

    Notes
    -----
    Item i is the network, or ``(network, target)``. The dataset works in `DataLoader`
    workers, spawned or forked: each process opens the shards itself. Networks keep the
    order of the selection. Split a dataset by run, since checkpoints of one run leak into
    one another.
    """

    def __init__(
        self,
        networks: Selection | Population,
        target: str | None = None,
        *,
        gives: str = "vector",
        lossy: bool = False,
    ) -> None:
        if gives not in GIVES:
            raise CatalogError(
                f"The 'gives' parameter of NetworkDataset must be one of {GIVES}. Got "
                f"{gives!r}."
            )
        self.gives, self.lossy = gives, lossy
        self._length = len(networks)
        self._targets = _targets(networks, target) if target else None
        self._population = networks if isinstance(networks, Population) else None
        self._weights = None if self._population is None else to_torch(self._population)
        self._open = None if isinstance(networks, Population) else networks
        self._process = os.getpid()
        if self._open is not None and gives == "vector":
            _ = self._open.layout

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, i: int) -> Any:
        """Return network i, or ``(network, target)``."""
        row = range(self._length)[i]
        network = self._vector(row) if self.gives == "vector" else self._tensors(row)
        return network if self._targets is None else (network, self._targets[row])

    def _selection(self) -> Selection:
        """Return the selection, reopened if the process was forked or spawned."""
        assert self._open is not None
        if self._process != os.getpid():
            self._open, self._process = self._open.reopened(), os.getpid()
        return self._open

    def _vector(self, i: int) -> torch.Tensor:
        if self._weights is not None:
            return self._weights[i]
        selection = self._selection()
        layout, tensors = selection.layout, selection[i]
        vector = np.empty(layout.d, np.float32)
        for name, columns in layout.slices.items():
            kind, values = layout[name].dtype, tensors[name].reshape(-1)
            rounded = self.lossy and kind == "float64"
            vector[columns] = round_to_float32(values) if rounded else widen(values, kind)
        return torch.from_numpy(vector)

    def _tensors(self, i: int) -> dict[str, torch.Tensor]:
        if self._population is not None:
            layout, tensors = self._population.layout, self._population.state_dict(i)
        else:
            selection = self._selection()
            layout, tensors = selection.layout_of(i), selection[i]
        return {name: as_torch(v, layout[name].dtype) for name, v in tensors.items()}


def _targets(networks: Selection | Population, name: str) -> torch.Tensor:
    """Return the values of a target column as a tensor."""
    table = networks.table
    if name not in table.column_names:
        raise NotFound(f"No column {name!r}. {closest(name, table.column_names)}")
    column = table[name]
    if column.null_count:
        raise CatalogError(
            f"{column.null_count} of {len(column)} networks have no {name!r}. Select with "
            f"the condition: {identifier(name)} IS NOT NULL"
        )
    values = column.to_numpy()
    if values.dtype.kind not in "biuf":
        raise LayoutMismatch(
            f"Column {name!r} is {column.type}; a target must be numbers. Encode the "
            f"column in SQL, e.g. dense_rank() OVER (ORDER BY {identifier(name)}) - 1."
        )
    if values.dtype.kind == "f":
        values = values.astype(np.float32)
    return torch.from_numpy(values.copy())
