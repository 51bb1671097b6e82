"""Networks as training data, in one process and in workers."""

import gc
import os
import pickle
import time

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

import catalog
from catalog import CatalogError, Layout, LayoutMismatch, NotFound, Param, Population
from zoo.modules.tensors import to_torch
from zoo.modules.torch_dataset import NetworkDataset

LAYOUT = Layout(
    (
        Param("w", (3, 2)),
        Param("half", (4,), dtype="bfloat16"),
        Param("count", (), dtype="int64", role="counter"),
    )
)
N = 40


def population(n=N, seed=0, layout=LAYOUT):
    draw = np.random.default_rng(seed)
    tensors = {
        "w": draw.standard_normal((n, 3, 2), np.float32),
        "half": draw.integers(0, 1 << 14, (n, 4)).astype(np.uint16),
        "count": np.arange(n),
    }
    tensors = {p.name: tensors[p.name] for p in layout}
    table = {
        "run_id": [f"r{seed}-{i:03d}" for i in range(n)],
        "step": [0] * n,
        "test_accuracy": np.linspace(0, 1, n),
        "seen": np.arange(n),
        "odd": np.arange(n) % 2 == 1,
        "word": ["x"] * n,
        "rare": pa.array(([1.0, None] * n)[:n]),
    }
    return Population.from_tensors(tensors, layout, pa.table(table))


def commit(store, networks):
    table = networks.table
    names = [n for n in table.column_names if n != "step"]
    ids = table["run_id"]
    runs = {"run_id": ids, "zoo": ["z"] * len(ids), "source": ["imported"] * len(ids)}
    with store.writer() as writer:
        writer.commit(pa.table(runs), table.select(["step", *names]), networks)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two shards."""
    empty = catalog.open(tmp_path_factory.mktemp("zoo"), create=True)
    commit(empty, population())
    commit(empty, population(10, seed=1))
    return empty.refreshed()


@pytest.fixture
def selection(store):
    return store.select("true ORDER BY run_id DESC")


def test_vectors_are_the_rows_of_the_population(selection):
    weights, data = selection.population().weights, NetworkDataset(selection)
    assert len(data) == len(weights) == N + 10
    for i in (*range(len(data)), -1):
        assert data[i].numpy().tobytes() == weights[i].tobytes()
    with pytest.raises(IndexError):
        data[len(data)]


def test_state_dicts_have_their_own_dtypes(selection):
    loaded = selection.population()
    for source in (selection, loaded):
        state = NetworkDataset(source, gives="state_dict")[3]
        assert {k: v.dtype for k, v in state.items()} == {
            "w": torch.float32,
            "half": torch.bfloat16,
            "count": torch.int64,
        }
        assert state["count"].item() == loaded.extra["count"][3]
        assert torch.equal(
            state["half"].float(), torch.from_numpy(loaded.tensor("half")[3])
        )


@pytest.mark.parametrize(
    ("column", "kind"),
    [("test_accuracy", torch.float32), ("seen", torch.int64), ("odd", torch.bool)],
)
def test_targets_stand_beside_their_networks(selection, column, kind):
    data = NetworkDataset(selection, column)
    for i in (0, 7, len(data) - 1):
        vector, target = data[i]
        assert target.dtype == kind
        assert target.item() == pytest.approx(selection.table[column][i].as_py())
        assert torch.equal(vector, NetworkDataset(selection)[i])


class Watched(NetworkDataset):
    """Says which process read a network."""

    def __getitem__(self, i):
        return super().__getitem__(i), os.getpid()


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        ("fork", "selection"),
        ("fork", "population"),
        ("spawn", "selection"),
        pytest.param("spawn", "population", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_workers_read_the_same(store, start, kind):
    selection = store.select("true ORDER BY run_id")
    weights = selection.population().weights
    source = selection if kind == "selection" else selection.population()
    data = Watched(source, "seen")
    _ = data[0]  # opened by this process too
    workers = 2 if start == "fork" else 1
    loader = DataLoader(
        data, batch_size=8, num_workers=workers, multiprocessing_context=start, timeout=120
    )
    vectors, targets, processes = [], [], set()
    for (vector, target), process in loader:
        vectors.append(vector)
        targets.append(target)
        processes |= set(process.tolist())
    assert torch.cat(vectors).numpy().tobytes() == weights.tobytes()
    assert torch.cat(targets).tolist() == selection.table["seen"].to_pylist()
    assert len(processes) == workers
    assert os.getpid() not in processes


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_worker_opens_the_files_itself(store):
    """The files of its parent are closed before it reads."""
    selection = store.refreshed().select("true ORDER BY run_id")
    expected = selection.population().weights[17]
    data = NetworkDataset(selection)
    assert torch.equal(data[17], torch.from_numpy(expected))
    inherited = [reader._descriptor for reader in data._open._readers]
    loader = DataLoader(data, num_workers=1, multiprocessing_context="fork", timeout=120)
    spare = [os.dup(descriptor) for descriptor in inherited]
    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor in inherited:
        os.dup2(null, descriptor)
    try:
        rows = [batch[0] for batch in loader]
    finally:
        for descriptor, kept in zip(inherited, spare, strict=True):
            os.dup2(kept, descriptor)
            os.close(kept)
        os.close(null)
    assert torch.equal(rows[17], torch.from_numpy(expected))


def test_a_selection_survives_pickling_without_its_catalogue(store, tmp_path):
    selection = store.refreshed().select("true ORDER BY run_id")
    expected = selection.population()
    copy = pickle.loads(pickle.dumps(selection))  # noqa: S301
    del selection
    gc.collect()
    found = copy.population()
    assert found.weights.tobytes() == expected.weights.tobytes()
    assert found.table.equals(expected.table)
    with pytest.raises(CatalogError, match="cannot be verified"):
        copy.population(verify=True)


def test_large_reads_work_after_a_fork(tmp_path):
    """Reads of more than 8 MB use threads, which a fork does not take along."""
    layout = Layout((Param("w", (3, 2)),))
    big = Layout((Param("big", (1 << 21,)),))
    store = catalog.open(tmp_path, create=True)
    values = np.ones((4, 1 << 21), np.float32)
    table = pa.table({"run_id": list("abcd"), "step": [0] * 4})
    commit(store, Population(values, big, table))
    commit(store, population(layout=layout))
    selection = store.refreshed().select("starts_with(arch_id, 'layout') AND run_id <= 'd'")
    selection.tensor("big")  # the threads exist
    child = os.fork()
    if not child:
        try:
            total = selection.reopened().tensor("big").sum()
            os._exit(0 if total == values.sum() else 1)
        finally:
            os._exit(2)
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert status == 0


def test_a_population_is_shared_and_not_copied():
    networks = population()
    data = NetworkDataset(networks)
    networks.weights[5, 0] = 42.0
    assert data[5][0] == 42.0


def test_to_torch_shares_memory():
    networks = population()
    weights = to_torch(networks)
    assert weights.shape == networks.weights.shape
    assert weights.data_ptr() == networks.weights.ctypes.data
    networks.weights.setflags(write=False)
    assert to_torch(networks).data_ptr() != networks.weights.ctypes.data


def test_float64_without_a_float32_equal(tmp_path):
    layout = Layout((Param("w", (1,), dtype="float64"),))
    store = catalog.open(tmp_path, create=True)
    shard = Population(np.full((1, 1), 0.1, np.float32), layout, population(1).table)
    commit(store, shard)
    selection = store.refreshed().select()
    assert NetworkDataset(selection)[0].item() == np.float32(0.1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"target": "accuracy"},
            NotFound,
            "No column 'accuracy'. Closest: .*test_accuracy",
        ),
        (
            {"target": "rare"},
            CatalogError,
            "have no 'rare'. Select with .*\"rare\" IS NOT NULL",
        ),
        ({"target": "word"}, LayoutMismatch, "'word' is string; a target must be numbers"),
        ({"gives": "graph"}, CatalogError, r"must be one of .* Got 'graph'"),
    ],
)
def test_wrong_requests_are_explained(selection, arguments, error, message):
    with pytest.raises(error, match=message):
        NetworkDataset(selection, **arguments)


def test_several_layouts_give_state_dicts_but_no_vectors(tmp_path):
    store = catalog.open(tmp_path, create=True)
    commit(store, population(4))
    commit(store, population(4, seed=1, layout=Layout(LAYOUT.params[:1])))
    selection = store.refreshed().select("true ORDER BY run_id")
    with pytest.raises(LayoutMismatch, match="2 layouts"):
        NetworkDataset(selection)
    data = NetworkDataset(selection, gives="state_dict")
    assert [len(data[i]) for i in range(8)] == [3] * 4 + [1] * 4
