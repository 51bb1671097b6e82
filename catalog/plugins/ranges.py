"""Checks of the ranges of settings, with errors that state the allowed values.

Types are checked by annotations, see `catalog.plugins.settings`. Ranges are checked in the
constructors of the objects, so that Python and the command line raise the same errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from catalog.errors import BadSetting, NotFound, closest
from catalog.plugins.plain_types import is_finite, is_whole


class NoSuchChoice(NotFound, BadSetting):
    """Error of a setting whose value is not among the allowed names."""


@dataclass(frozen=True)
class Setting:
    """Value of one setting, with checks.

    Attributes
    ----------
    owner, name : str
        Name of the object that has the setting, and name of the setting.
    value : object
        The value to check.
    default : object
        A value that is certainly allowed, which errors suggest.
    """

    owner: str
    name: str
    value: object
    default: object

    @classmethod
    def of(cls, owner: object, name: str) -> Setting:
        """Make the setting from a field of a dataclass instance."""
        kind = type(owner)
        return cls(kind.__name__, name, getattr(owner, name), getattr(kind, name))

    def whole(self, least: int) -> None:
        """Raise `BadSetting` unless the value is a whole number of at least ``least``."""
        if not is_whole(self.value) or self.value < least:  # type: ignore[operator]
            self.wrong(f"must be a whole number of at least {least}")

    def number(
        self, low: float = -math.inf, high: float = math.inf, *, ends: str = "[]"
    ) -> None:
        """Raise `BadSetting` unless the value is a finite number from ``low`` to ``high``.

        Parameters
        ----------
        low, high : float
            Limits of the range. Default: unlimited.
        ends : {"[]", "[)", "(]", "()"}
            Brackets of the interval; a square bracket includes the limit.
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
        """Raise `NoSuchChoice` unless the value is one of the known names."""
        known = tuple(known)
        if self.value not in known:
            raise NoSuchChoice(
                f"The {self.name} setting of {self.owner} must be one of "
                f"{', '.join(known)}. Got {self.value!r}. "
                f"{closest(str(self.value), known)}"
            )

    def wrong(self, must: str) -> NoReturn:
        """Raise `BadSetting`; ``must`` is the condition in words, such as "must be odd"."""
        raise BadSetting(
            f"The {self.name} setting of {self.owner} {must}. Got {self.value!r}. "
            f"Pass, for example, {self.name}={self.default!r}, or leave the setting out."
        )
