"""Small catalogues and files that the trials of `kills` begin with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

import catalog
import zoo.recipes
from catalog.console.program import main
from zoo.recipe import Axis, Recipe

GRID = Recipe(
    name="soak_grid",
    summary="twelve digits MLPs of two widths",
    paper="none",
    cost="a second",
    task="digits",
    architecture="mlp",
    load=Axis("width", (2, 4)),
    temperature=Axis("lr", (0.02, 0.2)),
    seeds=range(3),
    steps=30,
    checkpoints=(0.0, 1.0),
    settings={"batch_size": 20, "train_evaluated": 200},
)
SEEDS = Recipe(
    name="soak_seeds",
    summary="many digits MLPs of one width",
    paper="none",
    cost="a second",
    task="digits",
    architecture="mlp",
    load=Axis("width", (3,)),
    temperature=Axis("lr", (0.1,)),
    seeds=range(190),
    steps=15,
    checkpoints=(1.0,),
    settings={"batch_size": 20, "train_evaluated": 200},
)
for _recipe in (GRID, SEEDS):
    setattr(zoo.recipes, _recipe.name, _recipe)

METRICS = [
    "measure", "soak_grid", "--metric", "scores", "--metric", "cka", "--metric",
    "mode_connectivity", "--set", "mode_connectivity.steps=4", "--steps", "last",
    "--workers", "1",
]  # fmt: skip
SHARPNESS = "run_id,step,sharpness\n"


def phasezoo(root: Path, *words: str) -> None:
    """The command line, which ends as a process would.

    Raises
    ------
    SystemExit
        With its code, unless that is 0.
    """
    try:
        main([*words, "--catalog", str(root)])
    except SystemExit as ended:
        if ended.code:
            raise


def sql(root: Path, query: str) -> list[tuple[object, ...]]:
    """Rows of a query."""
    found: list[tuple[object, ...]] = catalog.open(root).sql(query).fetchall()
    return found


def empty(folder: Path) -> None:
    """No catalogue yet."""


def some(folder: Path) -> None:
    """Five of the grid's runs."""
    phasezoo(folder / "zoo", "train", "soak_grid", "--limit", "5", "--workers", "1")


def grid(folder: Path) -> None:
    """The grid, a table to annotate it with, and networks to import."""
    root = folder / "zoo"
    phasezoo(root, "train", "soak_grid", "--workers", "1")
    keys = sql(root, "SELECT run_id, step FROM models ORDER BY 1, 2")
    lines = [f"{run},{step},{i / 8}" for i, (run, step) in enumerate(keys)]
    (folder / "sharpness.csv").write_text(SHARPNESS + "\n".join(lines) + "\n")
    source = folder / "source"
    source.mkdir()
    for i in range(4):
        tensors = {"w": np.full((4, i % 3 + 1), i, np.float32), "b": np.float32([i])}
        np.savez(source / f"{i}.npz", **tensors)


def measured(folder: Path) -> None:
    """The grid with its metrics, an old plot and an old page."""
    root = folder / "zoo"
    phasezoo(root, "train", "soak_grid", "--workers", "1")
    phasezoo(root, *METRICS)
    outputs(folder)


def outputs(folder: Path) -> None:
    """What was written before, and stays until there is something new."""
    out = folder / "out"
    out.mkdir()
    for name in ("report.html", "phases.svg", "some.npz", "some.arrow", "rows.parquet"):
        (out / name).write_text(f"<!doctype html>the {name} before")
    root = folder / "zoo"
    phasezoo(root, "export", "--where", "step = 0 AND width = 2", "--to", f"{out}/nets")


def used(folder: Path) -> None:
    """Shards of many kinds: packed, measured, removed in part, imported, superseded."""
    root = folder / "zoo"
    grid(folder)
    phasezoo(root, "import", str(folder / "source"), "--format", "npz_state_dict",
             "--zoo", "foreign")  # fmt: skip
    phasezoo(root, "compact")
    phasezoo(root, "annotate", str(folder / "sharpness.csv"), "--name", "sharpness")
    phasezoo(root, "rm", "zoo = 'soak_grid' AND seed = 1 AND step = 0", "--yes")
    phasezoo(root, "rm", "zoo = 'foreign' AND source_name = '1'", "--yes")
    phasezoo(root, "train", "soak_seeds", "--limit", "6", "--workers", "1")
    phasezoo(root, "rm", "zoo = 'soak_seeds'", "--yes")


def left(folder: Path) -> None:
    """A used catalogue with what a killed writer left: `verify` sweeps it."""
    used(folder)
    root = folder / "zoo"
    for name in ("runs/.0123456789ab-000001.parquet.tmp", "writers/0123456789ab.writer"):
        (root / name).write_text("half")
    (root / "runs" / "0123456789ab-000002.parquet").write_text("not committed")


def broken(folder: Path) -> None:
    """The same without its HEAD, which `verify --repair` writes anew."""
    left(folder)
    (folder / "zoo" / "HEAD").unlink()


def without_index(folder: Path) -> None:
    """A used catalogue whose cache was deleted."""
    used(folder)
    shutil.rmtree(folder / "zoo" / "cache")


def with_old_index(folder: Path) -> None:
    """A catalogue whose index knows only what came first."""
    root = folder / "zoo"
    some(folder)
    sql(root, "SELECT count(*) FROM models")
    shutil.copytree(root / "cache", folder / "cache")
    phasezoo(root, "train", "soak_grid", "--limit", "8", "--workers", "1")
    shutil.rmtree(root / "cache")
    (folder / "cache").rename(root / "cache")


def seeds(folder: Path) -> None:
    """Many networks of one kind."""
    phasezoo(folder / "zoo", "train", "soak_seeds", "--workers", "1")


def probed(folder: Path) -> None:
    """Many networks, a probe of half of them."""
    seeds(folder)
    phasezoo(folder / "zoo", "probe", "linear", "--target", "test_accuracy", "--where",
             "seed < 100", "--to", str(folder / "linear.safetensors"))  # fmt: skip


GROUNDS: dict[str, Callable[[Path], None]] = {
    make.__name__: make
    for make in (
        empty, some, grid, measured, used, left, broken, without_index, with_old_index,
        seeds, probed,
    )
}  # fmt: skip
