"""State dicts for torch, out of the catalogue."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch

import catalog
from catalog import CatalogError
from catalog.dtypes import dtype
from catalog.formats.export import export, find_checkpoint
from zoo.formats.state_dict import state_dict
from zoo.modules.build import build


def test_a_state_dict_loads_into_a_plain_module(tiny_zoo, tmp_path):
    store = catalog.open(tiny_zoo.root)
    selection = store.select("finite AND width = 4 AND step = steps LIMIT 1")
    export(selection, tmp_path / "x.pt")
    state = torch.load(tmp_path / "x.pt", weights_only=True)
    population = selection.population()
    module = build(population, 0)
    for name, value in module.state_dict().items():
        assert torch.equal(state[name], value)
    module.load_state_dict(state)
    assert list(state) == [param.name for param in population.layout]


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64", "int64", "bool"])
def test_every_dtype_is_torchs_own(tmp_path, kind):
    layout = catalog.Layout(
        (
            catalog.Param("w", (3,)),
            catalog.Param("x", (2,), dtype=kind, role="constant"),
        )
    )
    values = np.array([[1, 0]]).astype(dtype(kind).storage)
    table = pa.table({"run_id": ["abcd"], "step": [0]})
    population = catalog.Population.from_tensors(
        {"w": np.ones((1, 3), np.float32), "x": values}, layout, table
    )
    runs = pa.table({"run_id": ["abcd"], "zoo": ["z"], "source": ["imported"]})
    store = catalog.open(tmp_path / "zoo", create=True)
    with store.writer() as writer:
        writer.commit(runs, table, population)
    export(find_checkpoint(store.refreshed(), "abcd"), tmp_path / "x.pt")
    state = torch.load(tmp_path / "x.pt", weights_only=True)
    assert state["x"].dtype == getattr(torch, kind)
    (network,) = state_dict.read(tmp_path / "x.pt")
    assert network.tensors["x"].values.tobytes() == values.tobytes()


def test_many_go_to_a_folder(tiny_zoo, tmp_path):
    selection = catalog.open(tiny_zoo.root).select("width = 3")
    files = export(selection, tmp_path / "many", "pt")
    assert len(files) == len(selection) > 2
    assert len(list(state_dict.read(tmp_path / "many"))) == len(files)
    with pytest.raises(CatalogError, match="holds one network"):
        export(selection, tmp_path / "x.pt")


def test_other_kinds_need_no_torch(tiny_zoo, tmp_path):
    code = (
        "import sys, catalog; from catalog.formats.export import export\n"
        f"s = catalog.open({str(tiny_zoo.root)!r}).select('width = 3')\n"
        f"export(s, {str(tmp_path / 'x.npz')!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["x.pth", "x.th", "x.PT"])
def test_other_endings_of_torch_are_files(tiny_zoo, tmp_path, name):
    selection = catalog.open(tiny_zoo.root).select("width = 3 LIMIT 1")
    export(selection, tmp_path / "x.pt", "pth")
    assert export(selection, tmp_path / name, force=True) == [tmp_path / name]
    one, two = (torch.load(tmp_path / n, weights_only=True) for n in ("x.pt", name))
    assert one.keys() == two.keys()
