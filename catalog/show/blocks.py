"""Text charts: sparklines and bars, in block characters or plain ASCII."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TextIO

from catalog.show.histogram import Histogram

_LEVELS = {True: "▁▂▃▄▅▆▇█", False: "_.:-=+*#"}
_PARTS = "▏▎▍▌▋▊▉█"
WIDTH = 32
"""Length of the longest bar in characters."""


def prints_blocks(stream: TextIO) -> bool:
    """Return True if the encoding of a stream has the block characters."""
    try:
        (_LEVELS[True] + _PARTS).encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def sparkline(values: Sequence[float | None], blocks: bool = True) -> str:
    """Draw one character per value, higher for greater values.

    None becomes a space, and a value that is not finite an ``x``.

    Examples
    --------
    >>> sparkline([0.0, 0.5, 1.0, None, float("nan")])
    '▁▅█ x'
    >>> sparkline([3, 1, 2], blocks=False)
    '#_='
    """
    levels = _LEVELS[blocks]
    finite = [v for v in values if v is not None and math.isfinite(v)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = max(abs(low), abs(high)) or 1.0  # else high - low may overflow
    spread = high / scale - low / scale

    def mark(value: float | None) -> str:
        if value is None:
            return " "
        if not math.isfinite(value):
            return "x"
        share = (value / scale - low / scale) / spread if spread else 0.0
        return levels[min(round(share * (len(levels) - 1) + 0.01), len(levels) - 1)]

    return "".join(map(mark, values))


def histogram_sparkline(histogram: Histogram, blocks: bool = True) -> str:
    """Draw the counts of a histogram as a sparkline; an empty bin is a space.

    Examples
    --------
    >>> histogram_sparkline({"edges": [0, 1, 2, 3], "counts": [4, 0, 1], "nonfinite": 0})
    '█ ▂'
    """
    levels, most = _LEVELS[blocks], max(histogram["counts"], default=0)
    return "".join(
        levels[max(math.ceil(count / most * len(levels)), 1) - 1] if count else " "
        for count in histogram["counts"]
    )


def bars(histogram: Histogram, blocks: bool = True) -> list[str]:
    """Draw a line per bin of a histogram: edges, bar, exact count and percentage.

    A bin that holds a value always has a visible bar.

    Examples
    --------
    >>> for line in bars({"edges": [0, 1, 2], "counts": [2, 1], "nonfinite": 0}, False):
    ...     print(line)
    [0, 1)  ################################  2  66.7%
    [1, 2]  ################                  1  33.3%
    """
    counts, edges = histogram["counts"], [_edge(e) for e in histogram["edges"]]
    ends = [")"] * (len(counts) - 1) + ["]"]
    names = [
        f"[{low}, {high}{end}"
        for low, high, end in zip(edges, edges[1:], ends, strict=False)
    ]
    width = max(map(len, names), default=0)
    digits = max((len(f"{count:,}") for count in counts), default=1)
    total, most = sum(counts), max(counts, default=0)
    lines = [
        f"{name:<{width}}  {_bar(count / most, blocks):<{WIDTH}}  {count:>{digits},}  "
        f"{count / total:>5.1%}"
        for name, count in zip(names, counts, strict=True)
    ]
    if histogram["nonfinite"]:
        lines.append(f"{histogram['nonfinite']:,} values are NaN or infinite")
    return lines


def _bar(share: float, blocks: bool) -> str:
    if not blocks:
        return "#" * round(share * WIDTH) or ("." if share else "")
    eighths = round(share * WIDTH * 8) or bool(share)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_PARTS[rest - 1] if rest else "")


def _edge(value: float) -> str:
    return f"{value:.4g}"
