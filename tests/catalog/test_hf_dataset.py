"""Populations in `datasets`: the same memory, the same rows."""

from typing import Any

import numpy as np
import pytest

from catalog import Catalog
from catalog.hf_dataset import to_datasets

datasets = pytest.importorskip("datasets")


def test_weights_are_shared_and_rows_agree(zoo: Catalog) -> None:
    population = zoo.load("true ORDER BY step")
    data = to_datasets(population)
    column = data.data.table["weights"].chunk(0)
    flat = column.flatten().to_numpy(zero_copy_only=True)
    assert np.shares_memory(flat, population.weights)
    assert data["run_id"][:] == population.table["run_id"].to_pylist()
    rows = data.with_format("numpy", columns=["weights", "step"])[:]
    assert rows["weights"].tobytes() == population.weights.tobytes()
    assert rows["step"].tolist() == population["step"].tolist()


def test_a_selection_is_read(zoo: Catalog) -> None:
    data = to_datasets(zoo.select("step >= 20 ORDER BY step"))
    assert len(data) == 3
    assert data.features["weights"] == datasets.List(
        datasets.Value("float32"), length=zoo.load().layout.d
    )
    half = data.filter(lambda row: row["step"] > 20, keep_in_memory=True)
    assert half["step"][:] == [30, 40]


def test_without_the_library_the_error_names_it(zoo: Catalog, monkeypatch: Any) -> None:
    monkeypatch.setattr("catalog.console.extras.find_spec", lambda module: None)
    with pytest.raises(ModuleNotFoundError, match="datasets"):
        to_datasets(zoo.load())
