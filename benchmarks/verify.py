"""Checking every committed byte, and every tensor by its own hash.

Claim: `phasezoo verify` checks sha256 of every file and blake3 of every tensor at 1 GB/s
or more, warm. Three catalogues of the same size: the tensors of digits MLPs (2.4 kB on
average), of small CNNs (1 kB), and of wide networks (2.8 MB).

Compared with what one would write with the same hashes: `hashlib.file_digest` of every
file, and then `pyarrow` and one blake3 per row and tensor.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import synthetic
from blake3 import blake3
from timing import alternate, digits, in_process, progress, report, sizes

from catalog.upkeep.verify import verify

MLP = (
    ("layer0.weight", (32, 64)),
    ("layer0.bias", (32,)),
    ("layer1.weight", (32, 32)),
    ("layer1.bias", (32,)),
    ("layer2.weight", (10, 32)),
    ("layer2.bias", (10,)),
)
WIDE = (("in.weight", (1024, 1024)), ("out.weight", (1024, 1024)), ("bias", (1024,)))


def main() -> None:
    options = sizes(__doc__, megabytes=(500, 10), rounds=(5, 2))
    results = {}
    shapes = {"mlp": MLP, "cnn_small": synthetic.CNN_SMALL, "wide": WIDE}
    for name, tensors in shapes.items():
        progress(name)
        with tempfile.TemporaryDirectory() as folder:
            layout = synthetic.layout(tensors)
            n = max(1, options.megabytes * 1_000_000 // layout.nbytes)
            networks = synthetic.population(n, layout)
            synthetic.weights_catalog(Path(folder) / "zoo", networks)
            del networks
            os.sync()
            results[name] = in_process(measure, Path(folder) / "zoo", options.rounds)
    report("verify", **results, bars={"gb_per_s": 1.0})


def measure(root: Path, rounds: int) -> dict[str, object]:
    found = verify(root)
    if found.problems:
        raise AssertionError(found.problems[0])
    contestants = {"verify": lambda: verify(root), "plain": lambda: plain(root)}
    medians = alternate(contestants, rounds, rehearse=True)
    gigabytes = found.bytes / 1e9
    return {
        "gb_per_s": {name: digits(gigabytes / v) for name, v in medians.items()},
        "times_faster": digits(medians["plain"] / medians["verify"]),
    }


def plain(root: Path) -> int:
    """Hashes of every file, and of every tensor through pyarrow."""
    hashed = 0
    for path in sorted(root.rglob("*.parquet")):
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256").hexdigest()
        if path.relative_to(root).parts[0] != "weights":
            continue
        table = pq.read_table(path, partitioning=None)
        for name in table.column_names[2:]:
            for chunk in table.column(name).chunks:
                for row in chunk.flatten().to_numpy().reshape(len(chunk), -1):
                    blake3(row.tobytes()).digest()
                    hashed += 1
    return hashed


if __name__ == "__main__":
    main()
