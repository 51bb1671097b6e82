"""Fuzzed texts and files at every place where they enter.

Claim: of 20,000 texts and files at all places where they enter (the command line, the
environment, foreign files, a catalogue's own files, fitted things) each ends with exit 0,
1 or 2 and a message; nothing is executed, no file is written outside, nothing is printed
that acts on a terminal, and no traceback.

`tests/trials/fuzz_trials.py` runs the trials, in processes of their own: one that
crashes or hangs is a failure that names its trial. A trial follows from its place, its
number and the seed alone, so ``--only PLACE --first N --trials 1`` repeats it, and shards
of a long run are ``--first`` and ``--trials``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from timing import progress, report

SHARES = {
    "ids": 2400, "where": 2000, "queries": 2500, "options": 2400, "targets": 800,
    "environment": 400, "csv": 900, "tables": 900, "npz": 900, "npy": 400, "json": 700,
    "safetensors": 700, "lora": 600, "exported": 700, "torch": 500, "ray": 500,
    "parquet": 900, "records": 900, "cache": 400, "probes": 600, "generators": 600,
    "data": 300,
}  # fmt: skip
"""Trials of each place of 20,000."""

SCRIPT = Path(__file__).parents[1] / "tests" / "trials" / "fuzz_trials.py"

Plan = list[tuple[str, int, int]]
"""Place, number of its first trial, and how many."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--trials", type=int, default=20_000, help="of all places together")
    parser.add_argument("--first", type=int, default=0, help="trial to begin with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=SHARES, help="a place")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    options = parser.parse_args()
    trials = len(SHARES) if options.quick else options.trials
    plan = planned(trials, options.first, options.only)
    places: Counter[str] = Counter()
    exits: Counter[str] = Counter()
    failures = 0
    with tempfile.TemporaryDirectory(prefix="phasezoo-fuzz-") as folder:
        for message in run(Path(folder), options.seed, plan):
            places[message["done"][0]] += 1
            exits.update(map(str, message["exits"]))
            if "failed" in message:
                failures += 1
                print(json.dumps(message), file=sys.stderr)
    report(
        "fuzz",
        seed=options.seed,
        trials=places.total(),
        commands=exits.total(),
        exits=dict(sorted(exits.items())),
        failures=failures,
        places=places,
    )
    sys.exit(1 if failures else 0)


def planned(trials: int, first: int, only: Sequence[str] | None) -> Plan:
    """Trials of each place, in proportion; none but ``only`` if that is given."""
    if only:
        return [(name, first, trials) for name in only]
    whole = sum(SHARES.values())
    ends = [(first * share // whole, (first + trials) * share // whole)
            for share in SHARES.values()]  # fmt: skip
    spans = zip(SHARES, ends, strict=True)
    return [(name, start, stop - start) for name, (start, stop) in spans if stop > start]


def run(folder: Path, seed: int, plan: Plan) -> Iterator[dict[str, Any]]:
    """What came of each trial; a new process goes on where one ended."""
    left, number = list(plan), 0
    while left:
        own, number = folder / str(number), number + 1
        own.mkdir()
        words = [str(word) for part in left for word in part]
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(own), str(seed), *words],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        at: tuple[str, int] | None = None
        whole, other = False, []
        assert process.stdout is not None
        for line in process.stdout:
            try:
                message: dict[str, Any] = json.loads(line)
            except ValueError:  # where a process hangs
                other.append(line)
                continue
            whole |= "end" in message
            if "trial" in message:
                at = (message["trial"][0], message["trial"][1])
                if at[1] % 100 == 0:
                    progress(f"{at[0]} {at[1]}")
            if "done" in message:
                yield message
        process.wait()
        if whole:
            return
        printed = own / "printed2"
        last = printed.read_text(errors="replace")[-2000:] if printed.exists() else ""
        told = f"code {process.returncode}: {''.join(other)[-3000:]} {last!a}"
        if at is None:
            raise RuntimeError(f"No trial could begin: {told}")
        yield {"done": list(at), "exits": [], "failed": told}
        left = rest(left, at)


def rest(plan: Plan, at: tuple[str, int]) -> Plan:
    """What of a plan comes after a trial."""
    names = [name for name, _, _ in plan]
    _, first, count = plan[names.index(at[0])]
    own = (at[0], at[1] + 1, first + count - at[1] - 1)
    return [part for part in (own, *plan[names.index(at[0]) + 1 :]) if part[2]]


if __name__ == "__main__":
    main()
