"""Progress on stderr: an updated line on a terminal, a line every 15 s elsewhere."""

from __future__ import annotations

import sys
import time

from catalog.console.outlet import encodable
from catalog.printable import printable


class Progress:
    """Progress of a count towards a total, with rate and remaining time.

    Parameters
    ----------
    total : float
        Final count; 0 if it is not known.
    unit : str
        Unit of the count, e.g. ``"models"``.
    label : str
        Start of the line.
    """

    def __init__(self, total: float, unit: str, label: str) -> None:
        self.total, self.unit, self.label = total, unit, label
        self._start = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._pause = 0.2 if self._terminal else 15.0

    def update(self, done: float) -> None:
        """Show the current count, unless the last line is too recent."""
        now = time.monotonic()
        if now - self._shown >= self._pause:
            self._shown = now
            self._write(done, now)

    def close(self, done: float) -> None:
        """Show the final count and end the line."""
        self._write(done, time.monotonic())
        if self._terminal:
            print(file=sys.stderr)

    def _write(self, done: float, now: float) -> None:
        seconds = max(now - self._start, 1e-9)
        rate = done / seconds
        speed = f"{rate:,.1f} {self.unit}/s"
        if 0 < rate < 1:
            speed = f"{1 / rate:,.1f} s/{self.unit.removesuffix('s')}"
        if not self.total:
            self._print(f"{self.label} {done:,.0f} {self.unit}, {speed}")
            return
        remaining = (self.total - done) / rate if rate > 0 else float("inf")
        share = done / self.total
        text = (
            f"{self.label} {done:,.0f}/{self.total:,.0f} {self.unit} ({share:.0%}), "
            f"{speed}, {clock(seconds)} elapsed, {clock(remaining)} left"
        )
        self._print(text)

    def _print(self, text: str) -> None:
        text = encodable(printable(text), sys.stderr)
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Format a duration in seconds as minutes and seconds, or as hours and minutes.

    Examples
    --------
    >>> clock(75), clock(7300), clock(float("inf"))
    ('1:15', '2h01', '?')
    """
    if seconds == float("inf"):
        return "?"
    rounded = round(seconds)
    if rounded >= 3600:
        return f"{rounded // 3600}h{rounded % 3600 // 60:02d}"
    return f"{rounded // 60}:{rounded % 60:02d}"
