"""How a velocity is learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from catalog.plugins.ranges import Setting
from generators.flow.coupling import Coupling

Keep = Literal["validation", "lowest_batch", "last"]
Source = Literal["fresh", "fixed"]
Times = Literal["uniform", "middle"]
MIDDLE, WIDTH = 0.75, 0.15
"""Mean and deviation of the times "middle": before, points are noise; behind, networks."""


@dataclass(frozen=True)
class Schedule:
    """How a velocity is learned.

    Attributes
    ----------
    iterations, batch_size : int
        Most steps of AdamW, and networks per step.
    lr, final_lr, weight_decay, betas
        Of AdamW; the rate falls to its final value along half a cosine.
    decay : float
        Of the moving average of the weights; 0: none.
    coupling : {"optimal_transport", "independent"}
        Of noise and networks within a batch.
    source : {"fresh", "fixed"}
        New noise in every step, or one vector per network drawn once, as published.
    sigma : float
        Deviation of noise added to points of the path.
    dropout : float
        Share of rows whose condition is left out; as often, each column by itself is.
    keep : {"validation", "lowest_batch", "last"}
        Which weights are kept: with the least validation loss of the average, with the
        least loss of a single batch, as published, or the last.
    times : {"uniform", "middle"}
        Of training points: over all of [0, 1], or about 0.75, where networks take shape.
    warmup : int
        Steps over which the rate rises.
    clip : float, optional
        Largest norm of a gradient.
    every, patience : int
        Steps from one validation to the next, and validations without a better loss
        after which it stops.

    Raises
    ------
    NotFound
        If there is no such coupling, source, times or keep.
    BadSetting
        If a number is none, or out of range.
    """

    iterations: int = 2000
    batch_size: int = 64
    lr: float = 5e-4
    final_lr: float = 1e-6
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.95)
    decay: float = 0.99
    coupling: Coupling = "optimal_transport"
    source: Source = "fresh"
    sigma: float = 0.0
    dropout: float = 0.2
    keep: Keep = "validation"
    times: Times = "uniform"
    warmup: int = 0
    clip: float | None = None
    every: int = 25
    patience: int = 8

    def __post_init__(self) -> None:
        names = {"coupling": Coupling, "source": Source, "keep": Keep, "times": Times}
        for name, known in names.items():
            Setting.of(self, name).one_of(get_args(known))
        for name in ("iterations", "batch_size", "every", "patience"):
            Setting.of(self, name).whole(1)
        Setting.of(self, "warmup").whole(0)
        for name in ("lr", "final_lr", "weight_decay", "sigma"):
            Setting.of(self, name).number(0)
        Setting.of(self, "dropout").number(0, 1)
        Setting.of(self, "decay").number(0, 1, ends="[)")
        if self.clip is not None:
            Setting.of(self, "clip").number(0, ends="()")
        betas = Setting.of(self, "betas")
        if not isinstance(self.betas, Sequence) or len(self.betas) != 2:
            betas.wrong("must be two numbers")
        for value in self.betas:
            replace(betas, value=value).number(0, 1, ends="[)")

    def rate(self, done: int) -> float:
        """Learning rate after so many steps."""
        share = (1 + math.cos(math.pi * done / self.iterations)) / 2
        rise = min(1.0, (done + 1) / self.warmup) if self.warmup else 1.0
        return rise * (self.final_lr + (self.lr - self.final_lr) * share)

    def draw_times(self, n: int, draw: torch.Generator) -> Tensor:
        """Times (n, 1) of training points."""
        if self.times == "uniform":
            return torch.rand(n, 1, generator=draw)
        middle = MIDDLE + WIDTH * torch.randn(n, 1, generator=draw)
        return middle.clamp(0.02, 0.98)


OF_LEARNT_STEPS = Schedule(
    iterations=4000,
    batch_size=32,
    lr=0.02,
    final_lr=0.0,
    weight_decay=0.0,
    betas=(0.9, 0.99),
    decay=0.995,
    coupling="independent",
    times="middle",
    warmup=100,
    clip=1.0,
    every=250,
    patience=4,
)
"""How learnt steps are learnt."""
OF_CONVOLUTIONS = replace(OF_LEARNT_STEPS, iterations=1500, batch_size=8)
"""The same, where each of their inputs is seen at many places."""
