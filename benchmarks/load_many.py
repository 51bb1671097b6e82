"""Loading 10,000 small networks into one matrix, from a catalogue and from files.

Claim: `catalog.load` of all of them is at least 20 times as fast as reading a file of
`torch.save` for each, and as a safetensors file for each.

Fair because every contestant ends with the same (n, d) float32 matrix in memory, every
file is in the page cache and paths are ready. ``torch_load`` reads with
``weights_only=True`` and fills the matrix network by network; ``safetensors`` uses the
library's numpy API and ``safetensors_torch`` the one that most people use. `catalog.load`
includes SQL, the table of metadata and the matrix; ``load_new`` also opens the catalogue
anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import synthetic
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch_file
from timing import alternate, digits, milliseconds, progress, report, sizes

import catalog
from catalog import Layout, Population


def main() -> None:
    options = sizes(__doc__, networks=(10_000, 200), rounds=(5, 2))
    with tempfile.TemporaryDirectory() as folder:
        medians = measure(Path(folder), options.networks, options.rounds)
    files = ("torch_load", "safetensors", "safetensors_torch")
    report(
        "load_many",
        networks=options.networks,
        milliseconds=milliseconds(medians),
        times_faster={
            ours: {peer: digits(medians[peer] / medians[ours]) for peer in files}
            for ours in ("load", "load_new")
        },
        bars=dict.fromkeys(files, 20),
    )


def measure(folder: Path, n: int, rounds: int) -> dict[str, float]:
    networks = synthetic.population(n, synthetic.layout())
    zoo = synthetic.weights_catalog(folder / "zoo", networks)
    zoo.load("row = 0")  # the index exists, as after any query
    pickles, tensors = write_files(folder / "files", networks)
    layout = networks.layout

    def with_torch() -> np.ndarray:
        return matrix(pickles, layout, lambda p: torch.load(p, weights_only=True))

    def with_safetensors() -> np.ndarray:
        return matrix(tensors, layout, load_file)

    def with_safetensors_torch() -> np.ndarray:
        return matrix(tensors, layout, load_torch_file)

    contestants: dict[str, Callable[[], object]] = {
        "load": zoo.load,
        "load_new": lambda: catalog.open(folder / "zoo").load(),
        "torch_load": with_torch,
        "safetensors": with_safetensors,
        "safetensors_torch": with_safetensors_torch,
    }
    order = zoo.load().table["run_id"].to_pylist(), zoo.load()["step"].tolist()
    expected = networks.table["run_id"].to_pylist(), networks["step"].tolist()
    if order != expected or (zoo.load().weights != networks.weights).any():
        raise AssertionError("the catalogue gives other networks")
    for read in (with_torch, with_safetensors):
        if (read() != networks.weights).any():
            raise AssertionError("files give other networks")
    return alternate(contestants, rounds, rehearse=True)


def matrix(
    paths: list[Path], layout: Layout, read: Callable[[Path], dict[str, object]]
) -> np.ndarray:
    weights = np.empty((len(paths), layout.d), np.float32)
    for row, path in zip(weights, paths, strict=True):
        state = read(path)
        for name, columns in layout.slices.items():
            row[columns] = np.asarray(state[name]).reshape(-1)
    return weights


def write_files(folder: Path, networks: Population) -> tuple[list[Path], list[Path]]:
    folder.mkdir()
    numbers = range(len(networks))
    pickles = [folder / f"{i:06d}.pt" for i in numbers]
    tensors = [folder / f"{i:06d}.safetensors" for i in numbers]
    for i in numbers:
        state = {k: v.copy() for k, v in networks.state_dict(i).items()}
        save_file(state, tensors[i])
        torch.save({k: torch.from_numpy(v) for k, v in state.items()}, pickles[i])
    progress(f"{len(networks):,} files written twice")
    return pickles, tensors


if __name__ == "__main__":
    main()
