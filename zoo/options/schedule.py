"""Learning rate schedules: a factor of the peak learning rate for every step."""

from __future__ import annotations

import math
from collections.abc import Callable

from catalog import NotFound
from catalog.errors import closest


def constant(step: int, steps: int) -> float:
    """Return 1, the peak learning rate, at every step."""
    return 1.0


def linear(step: int, steps: int) -> float:
    """Return a factor that decays linearly from 1 to 0."""
    return 1 - step / steps


def cosine(step: int, steps: int) -> float:
    """Return a factor that decays from 1 to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def one_cycle(step: int, steps: int) -> float:
    """Return a factor that rises over the first 30 % of the steps and then falls to 4e-6.

    Both parts follow a cosine. The schedule is that of
    ``torch.optim.lr_scheduler.OneCycleLR`` with its defaults, except that momentum is not
    cycled.
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
    """Return the schedule of a name.

    Raises
    ------
    NotFound
        If there is no schedule of that name.
    """
    if name not in SCHEDULES:
        raise NotFound(f"No schedule {name!r}. {closest(name, SCHEDULES)}")
    return SCHEDULES[name]
