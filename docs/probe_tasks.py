"""The fixed probe tasks of the published zoos: the table behind docs/zoos.md.

A task states which networks are read, what is predicted of them, and which side of which
split is scored, so that scores of different people compare. Changing a task makes scores
incomparable: add another one instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from catalog.console.options import options_in
from catalog.console.pasting import word
from catalog.quoting import literal
from probes.fitting.request import FitRequest

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "statistics": {},
    "linear": {},
    "probex": {"seeds": 3},
}
"""Options of each probe in all tasks; those that are missing have defaults."""

SMALL = {
    "n_probes": 32,
    "n_projections": 32,
    "n_representation": 64,
    "epochs": 150,
}
"""Settings of `probex` that take minutes; its default sizes are four times as large."""

WEIGHTS = ("linear", "probex")
"""Probes that read weights, and so need networks of one layout."""


@dataclass(frozen=True)
class ProbeTask:
    """One probe task.

    Attributes
    ----------
    zoo : str
    question : str
        What is predicted, of which networks.
    target : str
        Target, as ``phasezoo probe --target`` takes it.
    by : str
        Groups that are never divided between training and test networks.
    where : str
        Condition on the networks of the zoo; empty: all.
    steps : {"last", "all"}
        Checkpoints of each run.
    folds : int, optional
        Number of folds, each tested once. Default: the fixed split, of which "test" is
        scored.
    layer : str, optional
        Tensor that probes of weights read. Default: all matrices.
    probes : tuple of str
        Names of the probes.
    probex : mapping
        Settings of `probex`.
    """

    zoo: str
    question: str
    target: str
    by: str
    where: str = ""
    steps: str = "last"
    folds: int | None = None
    layer: str | None = None
    probes: tuple[str, ...] = tuple(OPTIONS)
    probex: Mapping[str, Any] = field(default_factory=lambda: SMALL)

    def request(self, probe: str) -> FitRequest:
        """Return the request that fits and scores a probe."""
        within = f" AND {self.where}" if self.where else ""
        reads_weights = self.layer is not None and probe in WEIGHTS
        return FitRequest(
            probe=probe,
            targets=(self.target,),
            where=f"zoo = {literal(self.zoo)}{within}",
            steps=self.steps,
            by=self.by,
            deal=self.folds,
            layer=(self.layer,) if reads_weights else (),
            settings=self.probex if probe == "probex" else {},
            **OPTIONS[probe],
        )


_IN_TREE = (
    "parents[1].run_id = (SELECT min(run_id) FROM runs WHERE zoo = 'tree_mini_roots' "
    "AND seed = {})"
)

PROBE_TASKS = (
    ProbeTask(
        zoo="digits_mlp_phases",
        question="test accuracy of the trained networks, of all widths",
        target="test_accuracy",
        by="run",
        folds=5,
        probes=("statistics",),
    ),
    ProbeTask(
        zoo="digits_mlp_phases",
        question="test accuracy of all checkpoints of width 16",
        target="test_accuracy",
        by="run",
        where="width = 16",
        steps="all",
        folds=5,
    ),
    ProbeTask(
        zoo="digits_mlp_seeds",
        question="test accuracy of all checkpoints of the first 1,000 seeds",
        target="test_accuracy",
        by="run",
        where="seed < 1000",
        steps="all",
    ),
    ProbeTask(
        zoo="fashion_mnist_cnn_phases",
        question="test accuracy of the trained networks, of all widths",
        target="test_accuracy",
        by="run",
        folds=5,
        probes=("statistics",),
    ),
    ProbeTask(
        zoo="fashion_mnist_cnn_phases",
        question="test accuracy of all checkpoints of width 16",
        target="test_accuracy",
        by="run",
        where="width = 16",
        steps="all",
        folds=5,
    ),
    *(
        ProbeTask(
            zoo="tree_mini",
            question=f"40 classes: was the network fine-tuned on it; tree of root {root}",
            target="saw=(config->'$.classes')::INT[]",
            by="sibling",
            where=_IN_TREE.format(root),
            layer="auto",
            probex={"epochs": 150},
        )
        for root in range(3)
    ),
    ProbeTask(
        zoo="lora_tree_mini",
        question="the class of 30 that an adapter detects",
        target="class_name",
        by="sibling",
    ),
)


def command(request: FitRequest) -> str:
    """Return the command of a request, to be pasted into a shell."""
    words = ["phasezoo", "probe", request.probe]
    defaults = {declared.name: declared.default for declared in fields(FitRequest)}
    for name, described in options_in(FitRequest).items():
        value = getattr(request, name)
        if described.flag is None or value in (defaults[name], (), {}):
            continue
        if isinstance(value, Mapping):
            value = [f"{key}={setting}" for key, setting in value.items()]
        for single in value if described.several else [value]:
            words += [described.flag, word(single)]
    return " ".join(words)
