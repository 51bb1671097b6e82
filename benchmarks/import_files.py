"""Importing 10,000 small files of `torch.save`, against merely reading them.

Claim: `catalog.import_source` of a folder (reading, typing, hashes, statistics
and a proven shard) runs at half the speed of `torch.load` of its files, or faster.

Fair because both read every file with ``weights_only=True`` from the page cache, in one
process. ``read`` is the format alone: `torch.load` and the records that the import core
takes. Each import goes into a new catalogue.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import synthetic
import torch
from timing import alternate, digits, progress, report, sizes

from catalog import import_source
from zoo.formats.state_dict import state_dict


def main() -> None:
    options = sizes(__doc__, networks=(10_000, 200), rounds=(5, 2))
    with tempfile.TemporaryDirectory() as folder:
        medians = measure(Path(folder), options.networks, options.rounds)
    ours = [name for name in medians if name != "torch_load"]
    report(
        "import_files",
        networks=options.networks,
        seconds={name: digits(value) for name, value in medians.items()},
        speed_of_torch_load={n: digits(medians["torch_load"] / medians[n]) for n in ours},
        bars={"import": 0.5},
    )


def measure(folder: Path, n: int, rounds: int) -> dict[str, float]:
    source = folder / "source"
    paths = write_files(source, n)
    numbers = iter(range(10**6))

    def load() -> None:
        for path in paths:
            torch.load(path, weights_only=True)

    def read() -> None:
        for _ in state_dict.read(source):
            pass

    def import_all() -> None:
        import_source(folder / f"zoo{next(numbers)}", source, zoo="files")

    return alternate({"torch_load": load, "read": read, "import": import_all}, rounds)


def write_files(folder: Path, n: int) -> list[Path]:
    networks = synthetic.population(n, synthetic.layout())
    folder.mkdir()
    paths = [folder / f"{i:06d}.pt" for i in range(n)]
    for i, path in enumerate(paths):
        state = networks.state_dict(i)
        torch.save({k: torch.from_numpy(v.copy()) for k, v in state.items()}, path)
    progress(f"{n:,} files written with torch.save")
    return paths


if __name__ == "__main__":
    main()
