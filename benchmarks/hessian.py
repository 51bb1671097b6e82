"""Claim: curvature of a whole zoo costs a fraction of that of one network at a time.

Ours: `zoo.metrics.hessian` in two one-thread processes, each with half of the 192
networks of `digits_mlp_phases` (trained here for some epochs). Against what a user
would write after PyHessian, in two one-thread processes at once: per network a gradient
with `create_graph` once and one `torch.autograd.grad` per product; the power method to a
relative change of 1e-3, at most 100 products; Hutchinson's trace with as many probes as
ours. Both see the same samples and labels, which are clean here, unlike the recipe's.
Alternating, medians over rounds of the slower process.

The errors of both top eigenvalues are against dense Hessians in double precision, of
some of the narrowest networks. Our trace has a smaller standard error at the same number
of probes; a second row (``same_error``) gives theirs as many as it needs for ours, by the
median ratio of variances.
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

from zoo.engine.stack import build_architecture, plan
from zoo.engine.train_stack import train_stack
from zoo.metrics.hessian import Hessian
from zoo.networks import Networks
from zoo.recipe import spread_runs
from zoo.recipes import RECIPES
from zoo.task import load_task
from zoo.tasks import TASKS
from zoo.workers.process import tune_process

CPU, POWER, TOLERANCE = torch.device("cpu"), 100, 1e-3
PROCESSES, CHECKED = 2, 4


def trained(count: int, epochs: int, part: int) -> list[Networks]:
    """Every second network of the zoo after some epochs, by width."""
    recipe = RECIPES["digits_mlp_phases"]
    clean = {**recipe.settings, "label_noise": 0.0}
    recipe = replace(recipe, epochs=epochs, settings=clean)
    data = load_task(TASKS["digits"])
    runs = spread_runs(recipe.runs(data), count)[part::PROCESSES]
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
        self.metric = Hessian(samples=options.samples)
        self.seconds: list[float] = []
        self.zoo = trained(options.networks, options.epochs, part)
        self.inputs = []
        for networks in self.zoo:
            samples = networks.samples("train", options.samples, 0)
            batch = next(samples.batches())
            inputs = [x.contiguous() for x in (batch.x[:1] if samples.shared else batch.x)]
            self.inputs.append(
                [(inputs[i % len(inputs)], y) for i, y in enumerate(batch.y)]
            )

    def ours(self, probes: int) -> list[Any]:
        """Values by width, and the seconds it took."""
        metric = replace(self.metric, probes=probes)
        return self._timed(lambda at: metric.measure(self.zoo[at], seed=0))

    def theirs(self, probes: int) -> list[Any]:
        """Values by width, and the seconds it took."""

        def one(at: int) -> Tensor:
            networks = self.zoo[at]
            rows = [
                one_by_one(module_of(networks, i), *self.inputs[at][i], probes, i)
                for i in range(len(networks))
            ]
            return torch.stack(rows)

        return self._timed(one)

    def _timed(self, one: Callable[[int], Any]) -> list[Any]:
        self.seconds, found = [], []
        for at in range(len(self.zoo)):
            started = time.perf_counter()
            found.append(one(at))
            self.seconds.append(time.perf_counter() - started)
        return found

    def check(self, probes: int) -> dict[str, Any]:
        """Errors of both against dense Hessians, and standard errors of all traces."""
        ours, theirs = self.ours(probes), self.theirs(probes)
        wrong: dict[str, list[float]] = {"ours": [], "one_by_one": []}
        for w, networks in enumerate(self.zoo[:3]):
            for i in range(min(CHECKED, len(networks))):
                matrix = dense(module_of(networks, i), *self.inputs[w][i])
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
        widths = [networks.architecture.sizes[1] for networks in self.zoo]  # type: ignore[attr-defined]
        return {"errors": wrong, "variances": ratios.tolist(), "widths": widths}


def child(part: int, options: Any) -> None:
    """Answer each line on stdin with one on stdout."""
    tune_process(1)
    side = Side(part, options)
    print("ready", flush=True)
    for line in sys.stdin:
        word, probes = line.split()
        found = getattr(side, word)(int(probes))
        print(json.dumps(found if word == "check" else side.seconds), flush=True)


def main() -> None:
    part = int(sys.argv.pop()) if sys.argv[-1].isdigit() and "--child" in sys.argv else None
    if part is not None:
        sys.argv.remove("--child")
    options = sizes(
        __doc__,
        networks=(192, 64),
        epochs=(10, 1),
        samples=(640, 64),
        probes=(16, 4),
        rounds=(3, 1),
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
    checks = ask(f"check {options.probes}")
    variance = statistics.median(x for c in checks for x in c["variances"])
    more = max(2, round(variance * options.probes))
    words = {
        "ours": f"ours {options.probes}",
        "same_probes": f"theirs {options.probes}",
        "same_error": f"theirs {more}",
    }
    # By width, of the slower process: the processes start each task together.
    seconds: dict[str, list[list[float]]] = {name: [] for name in words}
    order = list(words)
    for number in range(options.rounds + 1):
        for name in order:
            parts = ask(words[name])
            if number:  # the first round warms up
                seconds[name].append(max(parts, key=sum))
        order.append(order.pop(0))
        progress(f"round {number} of {options.rounds}")
    for process in children:
        process.communicate()
    totals = {name: [sum(row) for row in rows] for name, rows in seconds.items()}
    medians = {name: statistics.median(values) for name, values in totals.items()}
    by_width = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in seconds.items()
    }
    errors = {
        name: digits(max(max(c["errors"][name]) for c in checks))
        for name in ("ours", "one_by_one")
    }
    report(
        "hessian",
        networks=options.networks,
        samples=options.samples,
        processes=PROCESSES,
        probes={"ours": options.probes, "same_probes": options.probes, "same_error": more},
        seconds={name: digits(value) for name, value in medians.items()},
        ratio={
            name: digits(medians[name] / medians["ours"])
            for name in ("same_probes", "same_error")
        },
        ratio_range={
            name: [
                digits(f(b / a for a, b in zip(totals["ours"], totals[name], strict=True)))
                for f in (min, max)
            ]
            for name in ("same_probes", "same_error")
        },
        same_probes_by_width={
            width: digits(b / a)
            for width, a, b in zip(
                checks[0]["widths"], by_width["ours"], by_width["same_probes"], strict=True
            )
        },
        worst_top_eig_error=errors,
    )


if __name__ == "__main__":
    main()
