"""Long trials of what must never happen: ``soak.py NAME --trials N [--seed S]``.

Claim: nothing is lost, whatever ends a process and whatever a file holds.

- ``kills``: every verb that writes is killed at random moments and changes of the disk;
  reads are right, `verify` finds nothing, and running it again gives what an undisturbed
  run does.
- ``syscalls``: the storage alone, killed around its n-th change of the folder, over and
  over in one catalogue.
- ``faults``: the storage alone, every kind of fault at every step of every change: killed,
  no space, an error of the disk, the cache or the catalogue gone.
- ``attacks``: damaged and hostile catalogues and foreign files; an error with text, or the
  committed numbers.
- ``writers``: eight writers and eight readers of one catalogue beside one process that
  compacts and collects garbage, half a minute a trial: counts only grow, no error.

Trials follow from the seed and their number. What was done is kept in a state file beside
the working folder, so that a run that was ended goes on where it was. A trial that fails is
told, its folder is kept, and the next one begins; the exit status is 1 then. The trials
themselves lie in ``tests/trials``, whose tests run a few of each.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from timing import digits, progress, report

ROOT = Path(__file__).parents[1]
KINDS = {
    "attacks": "attacks.Attacks",
    "faults": "faults.Faults",
    "kills": "kills.Kills",
    "syscalls": "syscalls.SystemCalls",
    "writers": "writers.Writers",
}
TRIALS = {"attacks": 10_000, "kills": 500, "syscalls": 1_600, "writers": 20}
"""In full; of faults all that there are."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("name", choices=sorted(KINDS))
    parser.add_argument("--trials", type=int, help="how many in all; default in full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="default soak/NAME-SEED")
    options = parser.parse_args()
    folder = options.folder or Path("soak") / f"{options.name}-{options.seed}"
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f"{folder.name}.json")
    state = begun(path, options.name, options.seed)
    soak = made(options.name, folder, options.seed)
    trials = options.trials or TRIALS.get(options.name) or soak.trials
    while state["trials"] < trials:
        started = time.monotonic()
        number = state["trials"]
        size = min(soak.at_once, trials - number)
        told = f"{options.name} {number}"
        try:
            counts = soak.trial(number, size)
            add(state["counts"], counts)
            progress(f"{told}: {json.dumps(counts)}")
        except AssertionError as fault:
            state["faults"].append(f"{told}: {fault}")
            soak.keep(number)
            progress(f"FAULT {told}: {fault}")
        state["trials"] = number + size
        state["seconds"] += time.monotonic() - started
        kept = path.with_name(f".{path.name}")
        kept.write_text(json.dumps(state, indent=1))
        kept.rename(path)
    report(f"soak {options.name}", **{**state, "seconds": digits(state["seconds"])})
    sys.exit(1 if state["faults"] else 0)


def begun(path: Path, name: str, seed: int) -> dict[str, Any]:
    """What was done before; another version of the code must begin anew."""
    new = {
        "name": name, "seed": seed, "code": code(), "trials": 0, "seconds": 0.0,
        "counts": {}, "faults": [],
    }  # fmt: skip
    if not path.exists():
        return new
    state: dict[str, Any] = json.loads(path.read_text())
    for key in ("name", "seed", "code"):
        if state[key] != new[key]:
            raise SystemExit(
                f"{path} was begun with {key} {state[key]}, this is {new[key]}. Go on "
                f"with that, name another --folder, or begin anew: rm -r {path} "
                f"{path.with_suffix('')}"
            )
    return state


def add(counts: dict[str, float], more: dict[str, float]) -> None:
    """Add up what was counted; of what was slow, keep the slowest."""
    for name, value in more.items():
        join = max if name.startswith("slowest") else sum
        counts[name] = digits(join((counts.get(name, 0), value)))


def code() -> str:
    """Digest of the packages and of the trials."""
    digest = hashlib.sha256()
    for folder in ("catalog", "zoo", "probes", "generators", "tests/trials"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def made(name: str, folder: Path, seed: int) -> Any:
    """The trials of a name, which import what they need."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before numpy: children are forked
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "trials")]
    module, kind = KINDS[name].split(".")
    return getattr(importlib.import_module(module), kind)(folder, seed)


if __name__ == "__main__":
    main()
