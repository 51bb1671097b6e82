"""Selections and populations as `datasets.Dataset`, without copying weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.console.extras import require
from catalog.population import Population
from catalog.selection import Selection

if TYPE_CHECKING:
    from datasets import Dataset


def to_datasets(networks: Selection | Population) -> Dataset:
    """A `datasets.Dataset`: the columns of `models`, and ``weights`` (d float32).

    Parameters
    ----------
    networks : Selection or Population
        Weights of a selection are read once, into memory.

    Returns
    -------
    datasets.Dataset
        Its Arrow table shares memory with the population's weights. Rows come as Python
        lists unless asked otherwise: ``.with_format("torch")`` or ``"numpy"``.

    Raises
    ------
    ModuleNotFoundError
        If the library is missing.
    """
    require("datasets")
    import datasets

    population = networks.population() if isinstance(networks, Selection) else networks
    table = population.to_arrow()
    return datasets.Dataset(datasets.table.InMemoryTable(table))
