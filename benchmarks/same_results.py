"""The same commands by two versions of the code: everything that they store is compared.

Claim: a change that moves code changes no result. Every verb that writes makes a small
catalogue, with the code that is installed beside this Python:

    before/bin/python same_results.py build before-results
    after/bin/python same_results.py build after-results
    after/bin/python same_results.py compare before-results after-results

Compared are run ids, the hash of every tensor, all columns of `models`, `runs` and
`tensors` but those that tell when and by what they were made, what each verb prints as
JSON, the contents of probes and generators, and the bytes of exports and pictures. On one
machine all of it is equal; another one rounds otherwise. Built twice by one version it says
what is not determined by the seed (nothing).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from timing import progress, report

import catalog

PROGRAM = Path(sys.executable).with_name("phasezoo")

PROBES = ("linear", "tucker", "statistics", "mvprobe", "probex")
GENERATORS = ("pca_gaussian", "train_noise", "deepweightflow")

COMMANDS = (
    "train digits_mlp_phases --limit 48 --workers 1",
    "train digits_mlp_seeds --limit 240 --workers 1",
    "train pinn_mini --limit 2 --workers 1",
    "measure digits_mlp_phases --steps last --workers 1",
    "phases digits_mlp_phases --step last --plot {out}/phases.svg",
    "downstream digits_mlp_phases --workers 1",
    *(
        f"probe {name} --target test_accuracy --where {{seeds}} --to {{out}}/{name}.probe"
        for name in PROBES
    ),
    "probe statistics --target test_loss --where {grid}",
    *(
        f"generate {name} -n 8 --nulls 8 --images 100 --where {{seeds}} --calibrate head"
        for name in GENERATORS
    ),
    "lineage --where {grid}",
    "import {source} --format npz_state_dict --zoo foreign",
    "annotate {out}/table.csv --name mine",
    "rm {removed} --yes",
    "compact",
    "gc --grace 0 --keep 1 --waste 0",
    "verify",
    "export --where {grid} --to {out}/nets",
    "export --where {seeds} --to {out}/nets.npz",
    "report --to {out}/report.html",
)
PLACES = {
    "seeds": "zoo = 'digits_mlp_seeds' AND step = steps",
    "grid": "zoo = 'digits_mlp_phases' AND step = steps",
    "removed": "zoo = 'pinn_mini' AND step = 0",
}

MADE = {"created", "engine", "shard", "row", "writer", "sequence", "path"}
"""Columns that say when, in which order and by what something was made."""

TABLES = {
    "models": "run_id, step",
    "runs": "run_id",
    "tensors": "arch_id, position",
}
STATS = (
    "SELECT run_id, step, tensor, hex(blake3) AS blake3, l2, mean, std, min, max "
    'FROM tensor_stats JOIN models USING (shard, "row") ORDER BY ALL'
)

_PART = re.compile(rb"\b[A-Za-z]+[0-9a-f]{10}\b")
"""Names of parts of a picture, which are their addresses in memory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build").add_argument("folder", type=Path)
    compared = commands.add_parser("compare")
    compared.add_argument("before", type=Path)
    compared.add_argument("after", type=Path)
    options = parser.parse_args()
    if options.command == "build":
        build(options.folder.resolve())
        return
    differences, counts = compare(options.before, options.after)
    for line in differences[:100]:
        progress(line)
    report("same_results", **counts, differences=len(differences))
    sys.exit(1 if differences else 0)


def build(folder: Path) -> None:
    """Run every command in a new folder, and write down what it left."""
    folder.mkdir(parents=True)
    out, source = folder / "out", folder / "source"
    out.mkdir()
    source.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        tensors = {"w": rng.normal(size=(4, i % 2 + 1)), "b": rng.normal(size=4)}
        np.savez(source / f"{i}.npz", **{k: v.astype("f4") for k, v in tensors.items()})
    places = {**PLACES, "out": str(out), "source": str(source)}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SOURCE_DATE_EPOCH": "0"}
    said = {}
    for command in COMMANDS:
        if command.startswith("annotate"):
            annotations(folder / "zoo", out / "table.csv")
        words = [word.format(**places) for word in command.split()]
        done = subprocess.run(
            [PROGRAM, *words, "--catalog", str(folder / "zoo"), "--json"],
            capture_output=True, text=True, check=False, env=environment, cwd=folder,
        )  # fmt: skip
        progress(f"{command}: {done.returncode}")
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        said[command] = done.stdout.replace(str(folder), "FOLDER")
    stored = {"said": said, "files": files(folder), **tables(folder / "zoo")}
    (folder / "results.json").write_text(json.dumps(stored, indent=1, default=str))


def annotations(root: Path, path: Path) -> None:
    """A table with a column of our own, for the command that reads one."""
    rows = catalog.open(root).sql("SELECT run_id, step FROM models ORDER BY 1, 2")
    lines = [f"{run},{step},{i / 8}" for i, (run, step) in enumerate(rows.fetchall())]
    path.write_text("\n".join(["run_id,step,mine", *lines]) + "\n")


def tables(root: Path) -> dict[str, Any]:
    """Every row of the views, and a hash of every tensor."""
    store = catalog.open(root)
    stored: dict[str, Any] = {"tensor_stats": store.sql(STATS).fetchall()}
    for view, order in TABLES.items():
        columns = [c for c in store.sql(f"FROM {view}").columns if c not in MADE]
        listed = ", ".join(f'"{name}"' for name in sorted(columns))
        rows = store.sql(f"SELECT {listed} FROM {view} ORDER BY {order}").fetchall()
        stored[view] = [dict(zip(sorted(columns), row, strict=True)) for row in rows]
    return stored


def files(folder: Path) -> dict[str, str]:
    """Digests of what users keep."""
    found = {}
    for part in ("out", "zoo/probes", "zoo/generators"):
        for path in sorted((folder / part).rglob("*")):
            if path.is_file():
                data = fitted_content(path.read_bytes())
                data = data.replace(os.fsencode(folder), b"FOLDER")
                if path.suffix in (".svg", ".html"):
                    data = _PART.sub(b"part", data)
                name = str(path.relative_to(folder))
                found[name] = hashlib.sha256(data).hexdigest()
    return found


def fitted_content(data: bytes) -> bytes:
    """Return what a fitted file holds without its container; other files as they are."""
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        told = header.pop("__metadata__")
        body = json.loads(told.get("probe") or told["generator"])
    except (ValueError, LookupError, TypeError, AttributeError):
        return data
    body.pop("format", None)
    body.pop("digest", None)
    return json.dumps([header, body], sort_keys=True).encode() + data[8 + size :]


def compare(before: Path, after: Path) -> tuple[list[str], dict[str, int]]:
    """Say where two folders differ, and count what was compared."""
    one, other = (json.loads((f / "results.json").read_text()) for f in (before, after))
    differences = []
    for part in one:
        if one[part] == other[part]:
            continue
        if isinstance(one[part], dict):
            names = one[part].keys() | other[part].keys()
            wrong = [n for n in sorted(names) if one[part].get(n) != other[part].get(n)]
            differences += [f"{part}: {name} differs" for name in wrong]
            continue
        if len(one[part]) != len(other[part]):
            differences.append(f"{part}: {len(one[part])} and {len(other[part])} rows")
        pairs = zip(one[part], other[part], strict=False)
        differences += [f"{part}: {a} and {b}" for a, b in pairs if a != b]
    return differences, {part: len(value) for part, value in one.items()}


if __name__ == "__main__":
    main()
