"""Sets of byte ranges, as ordered lists."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

Span = tuple[int, int]
"""First byte, and the byte after the last."""


def merged_spans(spans: Sequence[Span], gap: int = 0) -> list[Span]:
    """Return ranges in order, those that overlap or are close as one.

    Examples
    --------
    >>> merged_spans([(5, 9), (0, 3), (8, 12)])
    [(0, 3), (5, 12)]
    >>> merged_spans([(0, 3), (5, 9)], gap=2)
    [(0, 9)]
    """
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1] + gap:
            merged[-1] = merged[-1][0], max(merged[-1][1], stop)
        elif start < stop:
            merged.append((start, stop))
    return merged


def remaining_spans(spans: Sequence[Span], known: Sequence[Span]) -> list[Span]:
    """Return the parts of ordered ranges that other ordered ranges do not cover.

    Examples
    --------
    >>> remaining_spans([(0, 10), (20, 30)], [(2, 4), (8, 22)])
    [(0, 2), (4, 8), (22, 30)]
    """
    remaining: list[Span] = []
    for start, stop in spans:
        at = max(bisect_right(known, (start,)) - 1, 0)
        while at < len(known) and known[at][0] < stop:
            first, last = known[at]
            if first > start:
                remaining.append((start, first))
            start = max(start, last)
            at += 1
        if start < stop:
            remaining.append((start, stop))
    return remaining
