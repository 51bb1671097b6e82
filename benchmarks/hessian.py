"""Claim: curvature of a whole zoo costs a fraction of that of one network at a time.

Ours: `zoo.metrics.hessian` in two one-thread processes, each with half of the 192
networks of `digits_mlp_phases` (trained here for some epochs). Against what a user
would write after PyHessian, in two one-thread processes at once: per network a gradient
with `create_graph` once and one `torch.autograd.grad` per product; the power method to a
relative change of 1e-3, at most 100 products; Hutchinson's trace with as many probes as
ours. Same samples, alternating, medians over rounds of the slower process.

Errors of both against dense Hessians in double precision, of the narrowest networks,
and how many times more probes Hutchinson would need for our standard error.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from timing import digits, progress, report, sizes
from torch import Tensor, nn
from torch.nn import functional

from zoo.metrics.hessian import Hessian
from zoo.networks import Networks
from zoo.process import tune_process
from zoo.recipe import recipe_named, spread
from zoo.stack import build_architecture, plan
from zoo.task import load_task, task_named
from zoo.training import train_stack

CPU, POWER, TOLERANCE = torch.device("cpu"), 100, 1e-3
PROCESSES, CHECKED = 2, 4


def trained(count: int, epochs: int, part: int) -> list[Networks]:
    """Every second network of the zoo after some epochs, by width."""
    recipe = replace(recipe_named("digits_mlp_phases"), epochs=epochs)
    data = load_task(task_named("digits"))
    runs = spread(recipe.runs(data), count)[part::PROCESSES]
    by_width: dict[str, list[Any]] = {}
    for stack in plan(runs, data, 1 << 30):
        weights = train_stack(stack, data, CPU).checkpoints[-1].weights
        group = by_width.setdefault(repr(stack.architecture), [])
        group += zip(stack.runs, weights, strict=True)
    found = []
    for group in by_width.values():
        kept = tuple(run for run, _ in group)
        n, network = len(kept), build_architecture(dict(kept[0].architecture))
        weights = np.stack([w for _, w in group])
        found.append(Networks(network, data, kept, (0,) * n, ("",) * n, weights, CPU))
    return sorted(found, key=lambda networks: networks.architecture.layout.d)


def module_of(networks: Networks, i: int) -> nn.Module:
    """One of them as a torch module."""
    module = networks.architecture.module()
    state = networks.architecture.layout.unflatten(networks.weights[i].copy())
    module.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    return module


def one_by_one(module: nn.Module, x: Tensor, y: Tensor, probes: int, seed: int) -> Tensor:
    """Top eigenvalue, trace and its standard error, as PyHessian finds them."""
    draw = torch.Generator().manual_seed(seed)
    leaves = list(module.parameters())
    loss = functional.cross_entropy(module(x), y)
    first = torch.autograd.grad(loss, leaves, create_graph=True)

    def product(vectors: list[Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(first, leaves, vectors, retain_graph=True)

    def dot(a: Any, b: Any) -> float:
        return float(sum((s * t).sum() for s, t in zip(a, b, strict=True)))

    v = [torch.randn(p.shape, generator=draw) for p in leaves]
    top = None
    for _ in range(POWER):
        norm = dot(v, v) ** 0.5 + 1e-12
        v = [t / norm for t in v]
        along = product(v)
        before, top = top, dot(along, v)
        if before is not None and abs(top - before) <= TOLERANCE * abs(before):
            break
        v = list(along)
    traces = []
    for _ in range(probes):
        signs = [
            torch.randint(0, 2, p.shape, generator=draw).mul_(2).sub_(1).float()
            for p in leaves
        ]
        traces.append(dot(product(signs), signs))
    mean, spread_ = statistics.mean(traces), statistics.stdev(traces)
    return torch.tensor([top, mean, spread_ / probes**0.5], dtype=torch.float64)


def dense(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The Hessian in double precision."""
    leaves = list(module.double().parameters())
    loss = functional.cross_entropy(module(x.double()), y)
    first = torch.autograd.grad(loss, leaves, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in first])
    rows = [
        torch.cat(
            [t.reshape(-1) for t in torch.autograd.grad(g, leaves, retain_graph=True)]
        )
        for g in flat
    ]
    return torch.stack(rows)


class Side:
    """One process: its networks, and what it does with them."""

    def __init__(self, part: int, options: Any) -> None:
        self.metric = Hessian(probes=options.probes, samples=options.samples)
        self.zoo = trained(options.networks, options.epochs, part)
        self.inputs = []
        for networks in self.zoo:
            samples = networks.samples("train", options.samples, 0)
            batch = next(samples.batches())
            self.inputs.append((batch.x[0].contiguous(), batch.y[0]))

    def ours(self) -> list[Any]:
        """Values by width."""
        return [self.metric.measure(networks, seed=0) for networks in self.zoo]

    def theirs(self) -> list[Any]:
        """Values by width."""
        found = []
        for networks, (x, y) in zip(self.zoo, self.inputs, strict=True):
            rows = [
                one_by_one(module_of(networks, i), x, y, self.metric.probes, i)
                for i in range(len(networks))
            ]
            found.append(torch.stack(rows))
        return found

    def check(self) -> dict[str, Any]:
        """Errors of both against dense Hessians, and standard errors of all traces."""
        ours, theirs = self.ours(), self.theirs()
        wrong: dict[str, list[float]] = {"ours": [], "one_by_one": []}
        for w, networks in enumerate(self.zoo[:3]):
            for i in range(min(CHECKED, len(networks))):
                matrix = dense(module_of(networks, i), *self.inputs[w])
                values = torch.linalg.eigvalsh(matrix)
                top = float(values[values.abs().argmax()])
                wrong["ours"].append(abs(ours[w]["hessian_top_eig"][i] / top - 1))
                wrong["one_by_one"].append(abs(float(theirs[w][i, 0]) / top - 1))
        ratios = np.concatenate(
            [
                (t[:, 2].numpy() / o["hessian_trace_se"]) ** 2
                for o, t in zip(ours, theirs, strict=True)
            ]
        )
        return {"top_eig_errors": wrong, "probes_for_our_error": ratios.tolist()}


def child(part: int, options: Any) -> None:
    """Answer each line on stdin with one on stdout."""
    tune_process(1)
    side = Side(part, options)
    print("ready", flush=True)
    for line in sys.stdin:
        call: Callable[[], Any] = getattr(side, line.strip())
        started = time.perf_counter()
        result = call()
        seconds = time.perf_counter() - started
        print(json.dumps(result if line.strip() == "check" else seconds), flush=True)


def main() -> None:
    part = int(sys.argv.pop()) if sys.argv[-1].isdigit() and "--child" in sys.argv else None
    if part is not None:
        sys.argv.remove("--child")
    options = sizes(
        __doc__,
        networks=(192, 16),
        epochs=(10, 1),
        samples=(640, 64),
        probes=(10, 4),
        rounds=(5, 1),
    )
    if part is not None:
        child(part, options)
        return
    command = [sys.executable, __file__, *sys.argv[1:], "--child"]
    children = [
        subprocess.Popen(
            [*command, str(i)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for i in range(PROCESSES)
    ]

    def ask(word: str) -> list[Any]:
        for process in children:
            assert process.stdin is not None
            process.stdin.write(word + "\n")
            process.stdin.flush()
        return [json.loads(process.stdout.readline()) for process in children]  # type: ignore[union-attr]

    for process in children:
        assert process.stdout is not None
        process.stdout.readline()
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(options.rounds + 1):
        for name in list(seconds)[:: 1 if number % 2 else -1]:
            elapsed = max(ask(name))
            if number:  # the first round warms up
                seconds[name].append(elapsed)
        progress(f"round {number} of {options.rounds}")
    checks = ask("check")
    for process in children:
        process.communicate()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    errors = {
        name: digits(max(max(c["top_eig_errors"][name]) for c in checks))
        for name in ("ours", "one_by_one")
    }
    more = statistics.median(x for c in checks for x in c["probes_for_our_error"])
    report(
        "hessian",
        networks=options.networks,
        samples=options.samples,
        probes=options.probes,
        processes=PROCESSES,
        seconds={name: digits(value) for name, value in medians.items()},
        ratio=digits(medians["theirs"] / medians["ours"]),
        ratio_range=[digits(min(ratios)), digits(max(ratios))],
        worst_top_eig_error=errors,
        probes_for_our_trace_error=digits(more * options.probes),
    )


if __name__ == "__main__":
    main()
