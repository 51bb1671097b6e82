"""Conversion of selections and populations to `datasets.Dataset` without copying."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.console.extras import require
from catalog.population import Population
from catalog.selection import Selection

if TYPE_CHECKING:
    from datasets import Dataset


def to_datasets(networks: Selection | Population) -> Dataset:
    """Convert networks to a `datasets.Dataset`.

    Parameters
    ----------
    networks : Selection or Population
        Networks to convert. The weights of a selection are read once, into memory.

    Returns
    -------
    datasets.Dataset
        Columns of `models`, and ``weights`` (d float32 per row). The Arrow table shares
        memory with the population's weights. Rows are Python lists by default;
        ``.with_format("torch")`` or ``.with_format("numpy")`` changes that.

    Raises
    ------
    ModuleNotFoundError
        If the library `datasets` is not installed.
    """
    require("datasets")
    import datasets

    population = networks.population() if isinstance(networks, Selection) else networks
    table = population.to_arrow()
    return datasets.Dataset(datasets.table.InMemoryTable(table))
