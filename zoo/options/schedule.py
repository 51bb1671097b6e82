"""Learning-rate schedules: a factor of the peak rate for every step."""

from __future__ import annotations

import math
from collections.abc import Callable

from catalog import NotFound
from catalog.errors import closest


def constant(step: int, steps: int) -> float:
    """The peak rate throughout."""
    return 1.0


def linear(step: int, steps: int) -> float:
    """From the peak rate to zero in a straight line."""
    return 1 - step / steps


def cosine(step: int, steps: int) -> float:
    """From the peak rate to zero along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def one_cycle(step: int, steps: int) -> float:
    """Up along a cosine over the first 30 %, down to 4e-6 of the peak.

    As ``torch.optim.lr_scheduler.OneCycleLR`` with its defaults, except that momentum
    is not cycled.
    """
    top = 0.3 * steps - 1
    if step <= top:
        start, end, share = 1 / 25, 1.0, step / top if top > 0 else 1.0
    else:
        start, end, share = 1.0, 1 / 25 / 1e4, (step - top) / (steps - 1 - top)
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "one_cycle": one_cycle,
}


def schedule(name: str) -> Callable[[int, int], float]:
    """The schedule of that name.

    Raises
    ------
    NotFound
        If there is none.
    """
    if name not in SCHEDULES:
        raise NotFound(f"No schedule {name!r}. {closest(name, SCHEDULES)}")
    return SCHEDULES[name]
