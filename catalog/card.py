"""README.md of a catalogue: which files `datasets` and the Hub's viewer read together.

Without named configurations two architectures in one folder raise a CastError, and
files are sorted into splits by words in their paths. So every configuration lists its
files.
"""

from __future__ import annotations

from catalog.folder import Folder
from catalog.snapshot import Snapshot

_METADATA = ("checkpoints", "runs", "tensors", "tensor_stats", "chunks")


def write_card(folder: Folder, snapshot: Snapshot) -> None:
    """Write README.md for a snapshot; a README that someone else wrote is kept."""
    path = folder.root / "README.md"
    if path.exists() and _MARK not in path.read_text(errors="replace"):
        return
    folder.write(path, card(snapshot).encode())


def card(snapshot: Snapshot) -> str:
    """Text of the card: metadata is the default, one configuration per architecture."""
    configs: dict[str, list[str]] = {kind: [] for kind in _METADATA}
    for manifest in snapshot.manifests:
        for kind, file in manifest.own.items():
            if kind == "weights":
                configs.setdefault(manifest.arch_id, []).append(file.path)
            elif kind in configs:
                configs[kind].append(file.path)
    lines = ["---", "configs:"]
    for name, paths in configs.items():
        if not paths:
            continue
        lines.append(f"- config_name: {name}")
        if name == _METADATA[0]:
            lines.append("  default: true")
        lines += ["  data_files:", "  - split: train", "    path:"]
        lines += [f"    - {path}" for path in paths]
    lines += ["---", "", _MARK, "", _TEXT]
    return "\n".join(lines)


_MARK = "<!-- written by phasezoo; delete this line to keep your own text -->"
_TEXT = """# A catalogue of neural networks

Metadata and weights of populations of networks as Parquet shards. With phasezoo:

    phasezoo sql "SELECT zoo, count(*) FROM models GROUP BY zoo" --catalog THIS_FOLDER

Without: `checkpoints` and `runs` join on `run_id`; the weights of a checkpoint are row
`row` of the file `weights/<arch_id>/<shard>.parquet`, one column per tensor. Measures
have their own columns per file and are read with DuckDB:
`FROM read_parquet('measures/*.parquet', union_by_name=true)`.
"""
