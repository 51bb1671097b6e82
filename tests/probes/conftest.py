"""A catalogue of networks whose accuracy is written in their weights."""

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from threadpoolctl import threadpool_limits

import catalog
from catalog import Catalog, Layout, Param, Population
from catalog.console.program import main

ZOOS = {"narrow": (5, 4, 3), "wide": (5, 6, 3), "deep": (5, 4, 4, 3)}
"""Widths of the layers of the networks of each zoo."""
STEPS = (0, 10)


def layout_of(widths: tuple[int, ...]) -> Layout:
    params = []
    for i, (before, after) in enumerate(pairwise(widths)):
        params.append(Param(f"layer{i}.weight", (after, before)))
        params.append(Param(f"layer{i}.bias", (after,)))
    return Layout(tuple(params))


def fill(zoo: Catalog, name: str, runs: int = 60, seed: int = 0) -> None:
    """Runs of two checkpoints; the scale of the first layer is the accuracy."""
    layout, rng = layout_of(ZOOS[name]), np.random.default_rng(seed)
    ids = [f"{name}-{i:03}" for i in range(runs)]
    scale = np.repeat(rng.uniform(0.2, 1, runs), len(STEPS))
    weights = rng.standard_normal((len(scale), layout.d)).astype(np.float32)
    weights[:, layout.slices["layer0.weight"]] *= scale[:, None].astype(np.float32)
    keys = {"run_id": np.repeat(ids, len(STEPS)).tolist(), "step": list(STEPS) * runs}
    first = scale > 0.6
    checkpoints = pa.table(
        {
            **keys,
            "test_accuracy": scale,
            "train_accuracy": np.sqrt(scale),
            "finite": np.ones(len(scale), bool),
            "saw_cat": first.astype(np.int64),
            "saw_dog": (scale < 0.8).astype(np.int64),
            "size": np.where(first, "large", "small").tolist(),
            "constant": [1.5] * len(scale),
            "sparse": [s if s > 0.5 else None for s in scale.tolist()],
        }
    )
    runs_table = pa.table(
        {
            "run_id": ids,
            "zoo": [name] * runs,
            "source": ["trained"] * runs,
            "cell": [f"cell{i // 3}" for i in range(runs)],
        }
    )
    with zoo.writer() as writer:
        writer.commit(runs_table, checkpoints, Population(weights, layout, checkpoints))


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Two processes of two threads each wait for one another more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def stored_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "zoo"
    empty = catalog.open(root, create=True)
    for seed, name in enumerate(ZOOS):
        fill(empty, name, seed=seed)
    catalog.open(root).sql("SELECT 1")  # its copies have an index
    return root


@pytest.fixture
def zoo(stored_template: Path, tmp_path: Path) -> Path:
    """A catalogue of its own: the folder, and how to ask it."""
    root = tmp_path / "zoo"
    shutil.copytree(stored_template, root)
    return root


@pytest.fixture
def phasezoo(
    zoo: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., SimpleNamespace]:
    """Run the verb on the catalogue: exit code, stdout, stderr."""

    def run(*arguments: object) -> SimpleNamespace:
        with pytest.raises(SystemExit) as exit_:
            main(["probe", *map(str, arguments), "--catalog", str(zoo)])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=int(exit_.value.code or 0), out=out, err=err)

    return run
