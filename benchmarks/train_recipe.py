"""Claim: a whole phase-diverse zoo trains many times faster than one model at a time.

Ours: `phasezoo train digits_mlp_phases` as a user types it, into an empty catalogue:
start-up, data, planning, training, evaluation of every checkpoint on three splits,
tensor statistics, hashes, shards and index. Against the same recipe one model at a time:
two one-thread processes at once, each with half of the runs, `torch.nn` modules and
`torch.optim.SGD(fused=True)`, data resident in memory, the same steps, the same
checkpoints evaluated on the same splits, `torch.save` per checkpoint and one CSV of
metrics. `--share 0.25` trains every fourth run of the baseline and scales its time.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.nn import functional

from zoo.engine.stack import build_architecture
from zoo.recipe import Recipe
from zoo.recipes import RECIPES
from zoo.run import Run
from zoo.samples import view
from zoo.task import Data, load_task

SPLITS = ("train", "validation", "test")


def train_one(run: Run, data: Data, folder: Path) -> list[dict[str, float]]:
    """Train one model as a script would."""
    torch.manual_seed(run.seed)
    model = build_architecture(dict(run.architecture)).module()
    optimizer = torch.optim.SGD(model.parameters(), run.lr, run.momentum, fused=True)
    splits = {}
    for split in SPLITS:
        seen = view(run, data, split)
        splits[split] = (
            torch.from_numpy(data.x[split][seen.index]),
            torch.from_numpy(seen.labels),
        )
    x, y = splits["train"]
    rows, step, usable = [], 0, len(x) // run.batch_size * run.batch_size
    while step <= run.steps:
        order = torch.randperm(len(x))[:usable]
        for picks in order.split(run.batch_size):
            if step in run.checkpoints:
                rows.append(evaluate(model, splits) | {"step": step})
                torch.save(model.state_dict(), folder / f"{id(rows)}_{step}.pt")
            if step == run.steps:
                return rows
            loss = functional.cross_entropy(model(x[picks]), y[picks])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
    return rows


@torch.no_grad()
def evaluate(
    model: torch.nn.Module, splits: dict[str, tuple[torch.Tensor, torch.Tensor]]
) -> dict[str, float]:
    """Loss and accuracy of all splits."""
    row = {}
    for split, (x, y) in splits.items():
        logits = model(x)
        row[f"{split}_loss"] = float(functional.cross_entropy(logits, y))
        row[f"{split}_accuracy"] = float((logits.argmax(1) == y).float().mean())
    return row


def child(recipe: Recipe, half: int, share: float) -> None:
    """Train every other run, or a share of them, one at a time."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    data = load_task(recipe.data_task)
    runs = recipe.runs(data)[half::2]
    stride = round(1 / share)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for run in runs[::stride]:
            rows += train_one(run, data, Path(folder))
        with (Path(folder) / "metrics.csv").open("w") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    seconds = time.perf_counter() - start
    print(seconds * len(runs) / len(runs[::stride]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="digits_mlp_phases")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the baseline's runs")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    recipe = RECIPES[options.recipe]
    if options.child is not None:
        child(recipe, options.child, options.share)
        return
    ours, theirs = [], []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            command = [str(Path(sys.executable).with_name("phasezoo")), "train"]
            start = time.perf_counter()
            done = [*command, recipe.name, "--catalog", folder]
            subprocess.run(done, check=True, capture_output=True)
            ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        arguments = ["--recipe", recipe.name, "--share", str(options.share), "--child"]
        children = [
            subprocess.Popen(
                [sys.executable, __file__, *arguments, str(half)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for half in range(2)
        ]
        seconds = [float(process.communicate()[0]) for process in children]
        start_up = time.perf_counter() - start - max(seconds) * options.share
        theirs.append(max(seconds) + max(start_up, 0))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    result = {
        "benchmark": "train_recipe",
        "recipe": recipe.name,
        "seconds": round(sorted(ours)[len(ours) // 2], 1),
        "baseline_seconds": round(sorted(theirs)[len(theirs) // 2], 1),
        "baseline_share": options.share,
        "ratio": round(ratios[len(ratios) // 2], 2),
        "ratio_range": [round(ratios[0], 2), round(ratios[-1], 2)],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
