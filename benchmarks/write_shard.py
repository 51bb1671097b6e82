"""Committing networks: speed for 10,000 small ones, memory for 1 GB of wide ones.

No claim about speed, for information: `Writer.commit` (shard, statistics and a hash of
every tensor, re-reading, syncs, manifest) against ``safetensors`` and ``torch_save``,
one file per network, the tensors already sliced, nothing synced.

Claim about memory: writing needs little beyond the population, however large it is.
``peak_mb_beyond_population`` is the peak resident memory of a process that commits,
less what it had with the population in memory; beside it a row group in MB, the unit
in which a shard is written. Each is measured in a process of its own.
"""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path

import synthetic
import torch
from safetensors.torch import save_file
from timing import alternate, digits, in_process, progress, report, sizes

import catalog
from catalog import Layout, Population
from catalog.storage.shard import row_group_rows

WIDE = (("in.weight", (1024, 1024)), ("out.weight", (1024, 1024)), ("bias", (1024,)))


def main() -> None:
    options = sizes(__doc__, networks=(10_000, 200), wide=(128, 8), rounds=(5, 2))
    with tempfile.TemporaryDirectory() as folder:
        speed = in_process(measure_speed, Path(folder), options.networks, options.rounds)
        progress("memory of small networks")
        small = in_process(measure_memory, Path(folder) / "a", options.networks, False)
        progress("memory of wide networks")
        wide = in_process(measure_memory, Path(folder) / "b", options.wide, True)
    report("write_shard", networks=options.networks, **speed, small=small, wide=wide)


def measure_speed(folder: Path, n: int, rounds: int) -> dict[str, dict[str, float]]:
    networks = synthetic.population(n, synthetic.layout())
    states = [
        {name: torch.from_numpy(value.copy()) for name, value in state.items()}
        for state in map(networks.state_dict, range(n))
    ]
    numbers = iter(range(10**6))

    def commit() -> None:
        commit_all(folder / f"zoo{next(numbers)}", networks)

    def safetensors() -> None:
        for path, state in zip(paths(folder, n, next(numbers)), states, strict=True):
            save_file(state, path)

    def torch_save() -> None:
        for path, state in zip(paths(folder, n, next(numbers)), states, strict=True):
            torch.save(state, path)

    ways = {"commit": commit, "safetensors": safetensors, "torch_save": torch_save}
    medians = alternate(ways, rounds)
    gigabytes = networks.weights.nbytes / 1e9
    return {
        "seconds": {name: digits(value) for name, value in medians.items()},
        "gb_per_s": {name: digits(gigabytes / v) for name, v in medians.items()},
        "commit_times_faster": {
            name: digits(medians[name] / medians["commit"]) for name in list(ways)[1:]
        },
    }


def paths(folder: Path, n: int, number: int) -> list[Path]:
    (folder / f"files{number}").mkdir()
    return [folder / f"files{number}/{i}" for i in range(n)]


def measure_memory(root: Path, n: int, wide: bool) -> dict[str, float]:
    layout = synthetic.layout(WIDE if wide else synthetic.CNN_SMALL)
    warm_up = synthetic.population(1, Layout(layout.params[-1:]))
    commit_all(root / "warm", warm_up)
    networks = synthetic.population(n, layout)
    before = peak_bytes()
    commit_all(root / "zoo", networks)
    group = row_group_rows(layout) * layout.nbytes
    return {
        "population_mb": digits(networks.weights.nbytes / 1e6),
        "row_group_mb": digits(group / 1e6),
        "peak_mb_beyond_population": digits((peak_bytes() - before) / 1e6),
    }


def commit_all(root: Path, networks: Population) -> None:
    table = networks.table
    with catalog.open(root, create=True).writer() as writer:
        writer.commit(synthetic.runs(table), table, networks, '{"name":"cnn_small"}')


def peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
