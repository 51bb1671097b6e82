"""Ranges of settings: what is wrong with a value, what is allowed, what to pass.

Types are said by annotations, see `catalog.plugins.settings`; what else must hold is said
where a thing is made, so that Python and the command line meet the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from catalog.errors import BadSetting, NotFound, closest
from catalog.plugins.plain_types import is_finite, is_whole


class NoSuchChoice(NotFound, BadSetting):
    """A setting that is none of the names that it may be."""


@dataclass(frozen=True)
class Setting:
    """One value that somebody chose.

    Attributes
    ----------
    owner, name : str
        What it is a setting of, and its name there.
    value : object
    default : object
        What is allowed for certain.
    """

    owner: str
    name: str
    value: object
    default: object

    @classmethod
    def of(cls, owner: object, name: str) -> Setting:
        """A field of a dataclass."""
        kind = type(owner)
        return cls(kind.__name__, name, getattr(owner, name), getattr(kind, name))

    def whole(self, least: int) -> None:
        """Raise `BadSetting` unless it is a whole number of at least ``least``."""
        if not is_whole(self.value) or self.value < least:  # type: ignore[operator]
            self.wrong(f"must be a whole number of at least {least}")

    def number(
        self, low: float = -math.inf, high: float = math.inf, *, ends: str = "[]"
    ) -> None:
        """Raise `BadSetting` unless it is a finite number from ``low`` to ``high``.

        Parameters
        ----------
        ends : {"[]", "[)", "(]", "()"}
            Whether the limits belong to it.
        """
        value = self.value
        if is_finite(value):
            above = low <= value if ends[0] == "[" else low < value  # type: ignore[operator]
            below = value <= high if ends[1] == "]" else value < high  # type: ignore[operator]
            if above and below:
                return
        limits = []
        if low > -math.inf:
            limits.append(f"at least {low:g}" if ends[0] == "[" else f"above {low:g}")
        if high < math.inf:
            limits.append(f"at most {high:g}" if ends[1] == "]" else f"below {high:g}")
        self.wrong(f"must be a finite number, {' and '.join(limits)}".removesuffix(", "))

    def one_of(self, known: Iterable[str]) -> None:
        """Raise `NoSuchChoice` unless it is one of these names."""
        known = tuple(known)
        if self.value not in known:
            raise NoSuchChoice(
                f"The {self.name} setting of {self.owner} must be one of "
                f"{', '.join(known)}. Got {self.value!r}. "
                f"{closest(str(self.value), known)}"
            )

    def wrong(self, must: str) -> NoReturn:
        """Raise `BadSetting`; ``must`` says what it must be."""
        raise BadSetting(
            f"The {self.name} setting of {self.owner} {must}. Got {self.value!r}. Pass "
            f"such as {self.name}={self.default!r}, or leave it out."
        )
