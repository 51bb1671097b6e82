"""Training schedule of a velocity network."""

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
"""Mean and standard deviation of the times "middle".

Earlier points are nearly noise, later points nearly networks.
"""


@dataclass(frozen=True)
class Schedule:
    """Training schedule of a velocity network.

    Attributes
    ----------
    iterations, batch_size : int
        Maximum number of AdamW steps, and number of networks per step.
    lr, final_lr, weight_decay, betas
        Parameters of AdamW; the learning rate falls to its final value along half a cosine.
    decay : float
        Decay of the moving average of the weights; 0: no averaging.
    coupling : {"optimal_transport", "independent"}
        Coupling of noise and networks within a batch.
    source : {"fresh", "fixed"}
        New noise in every step, or one vector per network drawn once, as published.
    sigma : float
        Standard deviation of noise added to points of the path.
    dropout : float
        Share of rows whose condition is omitted; each column is also omitted separately
        with this share.
    keep : {"validation", "lowest_batch", "last"}
        Rule for the weights that are kept: those with the lowest validation loss of the
        average, those with the lowest loss of a single batch, as published, or the last.
    times : {"uniform", "middle"}
        Distribution of the times of training points: over all of [0, 1], or about 0.75,
        where networks take shape.
    warmup : int
        Number of steps over which the learning rate rises.
    clip : float, optional
        Maximum norm of a gradient.
    every, patience : int
        Number of steps between validations, and number of validations without a lower loss
        after which training stops.

    Raises
    ------
    NotFound
        If there is no such coupling, source, times or keep.
    BadSetting
        If a number has another type, or is out of range.
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
        for name, choices in names.items():
            Setting.of(self, name).one_of(get_args(choices))
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
        """Return the learning rate after so many steps."""
        cosine = (1 + math.cos(math.pi * done / self.iterations)) / 2
        rise = min(1.0, (done + 1) / self.warmup) if self.warmup else 1.0
        return rise * (self.final_lr + (self.lr - self.final_lr) * cosine)

    def draw_times(self, n: int, draw: torch.Generator) -> Tensor:
        """Draw times (n, 1) of training points."""
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
"""Default schedule of learnt steps."""
OF_CONVOLUTIONS = replace(OF_LEARNT_STEPS, iterations=1500, batch_size=8)
"""Default schedule of learnt steps with convolutions, which see inputs at many places."""
