"""One network out of 10,000, by random access.

Claim: `selection[i]` gives all tensors of one network at least 5 times as fast as
`torch.load` of that network's own file.

Compared with `torch.load`, with and without ``weights_only``, of one file per network
written by `torch.save`: what a zoo of pickles offers.

Fair because both end with all ten tensors of the same random networks in fresh memory,
every file is in the page cache, paths are ready and the selection is made before, as a
loop over networks would do. ``selection_torch`` also wraps every array as a torch
tensor. ``load_run`` is for information: `Catalog.load` of one run (20 networks) by
``run_id``, SQL and `Population` included.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import synthetic
import torch
from timing import alternate, digits, progress, report, sizes

import catalog
from catalog import Population
from catalog.quoting import literal


def main() -> None:
    options = sizes(__doc__, networks=(10_000, 200), reads=(100, 10), rounds=(15, 2))
    with tempfile.TemporaryDirectory() as folder:
        zoo, files = prepare(Path(folder), options.networks)
        medians = measure(zoo, files, options.reads, options.rounds)
    peers = ("torch_load_weights_only", "torch_load")
    report(
        "read_one",
        networks=options.networks,
        microseconds={name: digits(1e6 * value) for name, value in medians.items()},
        times_faster={
            ours: {peer: digits(medians[peer] / medians[ours]) for peer in peers}
            for ours in ("selection", "selection_torch")
        },
        bars={"torch_load": 5},
        stretch={"torch_load": 40},
    )


def prepare(folder: Path, n: int) -> tuple[catalog.Catalog, list[Path]]:
    networks = synthetic.population(n, synthetic.layout())
    zoo = synthetic.weights_catalog(folder / "zoo", networks)
    files = write_files(folder / "files", networks)
    progress(f"{n:,} files written with torch.save")
    return zoo, files


def write_files(folder: Path, networks: Population) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{i:06d}.pt" for i in range(len(networks))]
    for i, path in enumerate(paths):
        torch.save(as_torch(networks.state_dict(i)), path)
    return paths


def measure(
    zoo: catalog.Catalog, files: list[Path], reads: int, rounds: int
) -> dict[str, float]:
    """Median seconds of one read."""
    selection = zoo.select()
    for i in (0, len(files) - 1):
        expected, got = torch.load(files[i]), as_torch(selection[i])
        if not all(torch.equal(expected[name], got[name]) for name in expected):
            raise AssertionError(f"network {i} differs")
    draw = random.Random(0)
    numbers = [draw.randrange(len(files)) for _ in range(reads * (rounds + 1))]

    def load_run(i: int) -> Population:
        return zoo.load(
            f"run_id = {literal(synthetic.run_id(i // synthetic.STEPS_PER_RUN))}"
        )

    read_all = {
        "selection": many(selection.__getitem__, numbers, reads),
        "selection_torch": many(lambda i: as_torch(selection[i]), numbers, reads),
        "torch_load_weights_only": many(
            lambda i: torch.load(files[i], weights_only=True), numbers, reads
        ),
        "torch_load": many(
            lambda i: torch.load(files[i], weights_only=False), numbers, reads
        ),
        "load_run": many(load_run, numbers, reads),
    }
    return {k: seconds / reads for k, seconds in alternate(read_all, rounds).items()}


def many(
    read: Callable[[int], object], numbers: Sequence[int], reads: int
) -> Callable[[], None]:
    """Read the next few networks; every round draws new ones."""
    left = iter(numbers)

    def batch() -> None:
        for i in islice(left, reads):
            read(i)

    return batch


def as_torch(tensors: dict[str, object]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in tensors.items()}


if __name__ == "__main__":
    main()
