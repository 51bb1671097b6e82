"""Networks without a model: random layouts, populations, and catalogues of them.

`Layout` and `Population` are registered with hypothesis, so ``@given(...)`` draws them
for every argument that is annotated with one.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st

import catalog
from catalog import Catalog, Layout, Param, Population
from catalog.dtypes import DTYPES, dtype
from catalog.storage.manifest import Manifest

HOSTILE = [
    "", "%", "%25", "pz_run_id", "pz_step", "PZ_x", "a", "A", "a.b", "a.list", "é", "É",
    "a.list.element", "arch", "shard", "row", 'quote"s', "it's", "back\\slash", "🦊", "ß",
    "SS", "a/b", "../../etc", "-", " ", "new\nline", "nul\0", "select", "*",
]  # fmt: skip
NAMES = st.sampled_from(HOSTILE) | st.text(max_size=8)
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 6e-8, 65504.0, 3.4e38]


@st.composite
def params(draw: st.DrawFn, name: str) -> Param:
    kind = draw(st.sampled_from(sorted(DTYPES)))
    roles = ["counter", "constant"] + ["parameter", "buffer"] * DTYPES[kind].floating
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    axes = tuple(draw(st.sampled_from([None, f"s{size}", f"t{size}"])) for size in shape)
    return Param(name, shape, axes, kind, draw(st.sampled_from(roles)))


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    names = draw(st.lists(NAMES, max_size=6, unique=True))
    return Layout(tuple(draw(params(name)) for name in names))


def stored_values(rng: np.random.Generator, param: Param, n: int) -> np.ndarray:
    """Any bytes that a tensor may have on disk: NaN payloads, infinities, -0.0."""
    shape, storage = (n, *param.shape), dtype(param.dtype).storage
    if param.dtype == "bool":
        return rng.random(shape) < 0.5
    if param.in_vector and param.dtype in ("float32", "float64"):
        values = rng.integers(0, 1 << 32, shape, np.uint64).astype(np.uint32)
        floats = values.view(np.float32)
        special = rng.random(shape) < 0.3
        floats[special] = rng.choice(np.float32(SPECIAL), int(special.sum()))
        with np.errstate(invalid="ignore"):
            return floats.astype(storage)
    size = int(np.prod(shape)) * storage.itemsize
    return np.frombuffer(rng.bytes(size), storage).reshape(shape).copy()


def make_population(
    layout: Layout, n: int = 3, *, seed: int = 0, prefix: str = "run"
) -> Population:
    rng = np.random.default_rng(seed)
    tensors = {param.name: stored_values(rng, param, n) for param in layout}
    table = {
        "run_id": [f"{prefix}-{i}" for i in range(n)],
        "step": [10 * i for i in range(n)],
    }
    return Population.from_tensors(tensors, layout, pa.table(table))


st.register_type_strategy(Layout, layouts())
st.register_type_strategy(
    Population,
    st.builds(make_population, layouts(), st.integers(1, 7), seed=st.integers(0, 1 << 32)),
)


def make_runs(ids: Sequence[str], /, **columns: Any) -> pa.Table:
    unique = list(dict.fromkeys(ids))
    columns = {
        "zoo": ["zoo"] * len(unique),
        "source": ["trained"] * len(unique),
        **columns,
    }
    return pa.table({"run_id": unique, **columns})


def commit_networks(zoo: Catalog, population: Population, /, **columns: Any) -> Manifest:
    runs = make_runs(population.table["run_id"].to_pylist(), **columns)
    with zoo.writer() as writer:
        return writer.commit(runs, population.table, population)


def commit_metrics(zoo: Catalog, /, *ids: str, **columns: Any) -> Manifest:
    checkpoints = pa.table({"run_id": list(ids), "step": [0] * len(ids)})
    with zoo.writer() as writer:
        return writer.commit(make_runs(ids, **columns), checkpoints)


def commit_measure(
    zoo: Catalog, rows: Sequence[dict[str, Any]], name: str = "m"
) -> Manifest:
    with zoo.writer() as writer:
        return writer.commit_measures(pa.Table.from_pylist(list(rows)), name, {"seed": 0})


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Power cuts are tested by the order of system calls, so that no test waits for one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def new_zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Catalog]:
    """Makes an empty catalogue."""
    return lambda: catalog.open(tmp_path_factory.mktemp("zoo"), create=True)


@pytest.fixture(scope="session")
def networks() -> Callable[..., Population]:
    """A population of random networks: ``(layout, n, seed=, prefix=)``."""
    return make_population


@pytest.fixture(scope="session")
def runs_of() -> Callable[..., pa.Table]:
    """The table of the runs with these ids."""
    return make_runs


@pytest.fixture(scope="session")
def commit() -> Callable[..., Manifest]:
    """Commit one population as one shard."""
    return commit_networks


@pytest.fixture(scope="session")
def metrics() -> Callable[..., Manifest]:
    """Commit runs without weights, one checkpoint each at step 0."""
    return commit_metrics


@pytest.fixture(scope="session")
def measure() -> Callable[..., Manifest]:
    """Commit rows of results."""
    return commit_measure


LAYOUT = Layout(
    (
        Param("fc.weight", (4, 3), ("h", None)),
        Param("fc.bias", (4,), ("h",), "bfloat16"),
        Param("bn.running_mean", (4,), ("h",), "float16", "buffer"),
        Param("bn.num_batches_tracked", (), (), "int64", "counter"),
        Param("mask", (2, 2), (), "bool", "constant"),
        Param("unused", (0, 4), (), "float64"),
    )
)


@pytest.fixture(scope="session")
def small_layout() -> Layout:
    """One tensor of every kind: float32, bfloat16, float16, a counter, a bool, empty."""
    return LAYOUT


@pytest.fixture(scope="session")
def template(new_zoo: Callable[[], Catalog]) -> Path:
    """One shard of five networks; not to be changed."""
    empty = new_zoo()
    commit_networks(empty, make_population(LAYOUT, 5))
    return empty.root


@pytest.fixture
def zoo(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """A catalogue of its own with one shard of five networks."""
    root = tmp_path_factory.mktemp("zoo")
    shutil.copytree(template, root, dirs_exist_ok=True)
    return catalog.open(root)


@pytest.fixture(scope="session")
def files() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder but locks and the cache, by relative name."""

    def read(root: Path) -> dict[str, bytes]:
        inside = {
            str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.is_file()
        }
        return {
            name: path.read_bytes()
            for name, path in inside.items()
            if not name.startswith(("writers/", "cache/"))
        }

    return read
