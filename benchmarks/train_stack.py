"""Claim: stacks of small networks train many times faster than one at a time.

Ours: two one-thread processes, each training stacks through
`zoo.engine.train_stack.train_stack` (every run with its own order, learning rate, momentum
and decay; labels and images gathered per step). Against what a user would write: two
one-thread processes at once, each training one `torch.nn` model at a time with the data
resident in memory, and `torch.optim.SGD` in the faster of its two variants, chosen in the
same run. Both sides alternate; a round lasts some seconds and takes the next stack; medians
over rounds of model-steps per second summed over both processes. Evaluation is in neither
side.

`--loader` adds a second baseline row, a `DataLoader` without workers. On an accelerator
(`--device cuda`) each side is one process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch.nn import functional

from zoo.engine.stack import Stack, best_size, build_architecture
from zoo.engine.train_stack import Stopped, train_stack
from zoo.recipes import RECIPES
from zoo.run import Run
from zoo.task import Data, Raw, Task, load_task, prepare
from zoo.tasks import TASKS
from zoo.workers.process import tune_process

CASES = {"mlp": "digits_mlp_seeds", "cnn": "fashion_mnist_cnn_phases"}


def data_for(case: str) -> Data:
    """Digits, or 10,000 random images of 28x28: speed does not depend on the pixels."""
    if case == "mlp":
        return load_task(TASKS["digits"])
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (11_500, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, (11_500,), generator=generator)
    x, y = pixels.numpy(), labels.numpy()
    task = Task("fashion_mnist", "random images", (1, 28, 28), 10, 500)
    return prepare(task, Raw(x[:10_500], y[:10_500], x[10_500:], y[10_500:], 1 / 255))


def runs_for(case: str, data: Data, batch: int, count: int) -> list[Run]:
    """Runs that differ in learning rate, momentum, decay and seed."""
    recipe = RECIPES[CASES[case]]
    network = recipe.network(32 if case == "mlp" else 8).config()
    run = Run("benchmark", recipe.task, network, 10**9, (0,), batch_size=batch)
    return [
        replace(
            run,
            seed=i,
            lr=0.01 + 1e-4 * i,
            momentum=0.9 - 1e-4 * i,
            weight_decay=1e-5 * i,
        )
        for i in range(count)
    ]


def baseline(run: Run, data: Data, variant: str, device: torch.device) -> Callable[[], int]:
    """One step of one `torch.nn` model."""
    model = build_architecture(dict(run.architecture)).module().to(device)
    options = {"fused": True} if variant == "fused" else {"foreach": True}
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-5, **options
    )
    x = torch.from_numpy(data.x["train"]).to(device)
    y = torch.from_numpy(data.y["train"]).to(device)
    batches = (
        _from_loader(x, y, run.batch_size)
        if variant == "loader"
        else _from_memory(x, y, run.batch_size)
    )

    def step() -> int:
        images, labels = next(batches)
        loss = functional.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return 1

    return step


def _from_memory(
    x: torch.Tensor, y: torch.Tensor, batch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        order = torch.randperm(len(x), device=x.device)
        for start in range(0, len(x) - batch + 1, batch):
            picks = order[start : start + batch]
            yield x[picks], y[picks]


def _from_loader(
    x: torch.Tensor, y: torch.Tensor, batch: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y), batch, shuffle=True, drop_last=True
    )
    while True:
        yield from loader


def steps_per_second(
    step: Callable[[], int], seconds: float, device: torch.device
) -> float:
    """Rate of a step over some seconds."""
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        steps += step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return steps / (time.perf_counter() - start)


def stacked(runs: list[Run], data: Data, seconds: float, device: torch.device) -> float:
    """Model-steps per second of the training loop, without its evaluation."""
    marks: list[tuple[float, int]] = []

    def progress(steps: int) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()
        marks.append((time.perf_counter(), steps))
        if marks[-1][0] - marks[0][0] > seconds:
            raise Stopped

    with contextlib.suppress(Stopped):
        train_stack(Stack(tuple(runs)), data, device, progress=progress)
    elapsed = marks[-1][0] - marks[0][0]
    return len(runs) * sum(steps for _, steps in marks[1:]) / elapsed


def child(options: argparse.Namespace) -> None:
    """Answer each line on stdin (a variant) with a rate on stdout."""
    tune_process(1)
    device = torch.device(options.device)
    data = data_for(options.case)
    runs = runs_for(options.case, data, options.batch, options.networks)
    nets = options.nets or best_size(
        runs[0], build_architecture(dict(runs[0].architecture))
    )
    stacks = [runs[start : start + nets] for start in range(0, len(runs), nets)]
    steps: dict[str, Callable[[], int]] = {}
    for number, line in enumerate(sys.stdin):
        variant = line.strip()
        if variant == "stacked":
            rate = stacked(stacks[number % len(stacks)], data, options.seconds, device)
        else:
            if variant not in steps:
                steps[variant] = baseline(runs[0], data, variant, device)
                steps_per_second(steps[variant], 0.3, device)
            rate = steps_per_second(steps[variant], options.seconds, device)
        print(rate, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, default="mlp")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--nets", type=int, help="networks per stack; default as `plan`")
    parser.add_argument("--networks", type=int, default=128, help="per process")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--loader", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    count = 1 if options.device == "cuda" else 2
    command = [sys.executable, __file__, *sys.argv[1:], "--child"]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    variants = ["fused", "foreach", "stacked"] + ["loader"] * options.loader
    rates: dict[str, list[float]] = {variant: [] for variant in variants}
    for number in range(options.rounds + 1):
        for variant in variants:
            for process in children:
                assert process.stdin is not None
                process.stdin.write(variant + "\n")
                process.stdin.flush()
            total = sum(
                float(process.stdout.readline()) for process in children if process.stdout
            )
            if number:  # the first round warms up
                rates[variant].append(total)
        print(f"round {number} of {options.rounds}", file=sys.stderr)
    for process in children:
        process.communicate()
    medians = {variant: statistics.median(values) for variant, values in rates.items()}
    best = max(medians["fused"], medians["foreach"])
    name = max(("fused", "foreach"), key=medians.__getitem__)
    ratios = [a / b for a, b in zip(rates["stacked"], rates[name], strict=True)]
    result = {
        "benchmark": "train_stack",
        "case": options.case,
        "batch": options.batch,
        "networks": options.networks * count,
        "stack": options.nets or "as planned",
        "device": options.device,
        "model_steps_per_second": {k: round(v) for k, v in medians.items()},
        "ratio": round(medians["stacked"] / best, 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
