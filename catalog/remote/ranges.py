"""The ranges of a remote file to ask for, when some of its bytes are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from catalog.remote.sparse_file import Span, merged_spans

SURPLUS = 0.1
"""Bytes that may be downloaded in vain, as a share of the wanted ones."""

SURPLUS_BYTES = 64 << 10
"""Bytes of a file that may be downloaded in vain whatever is wanted."""

BATCH_BYTES = 32 << 20
BATCH_RANGES = 256


def ranges_to_ask_for(spans: Sequence[Span], size: int) -> list[Span]:
    """Join wanted ranges across the smallest gaps, and so ask for fewer.

    All gaps together have at most a tenth of the wanted bytes and 64 KiB. If the rest of
    the file is no more than that, the whole file is one range.

    Parameters
    ----------
    spans : sequence of Span
        Wanted ranges.
    size : int
        Bytes of the file.

    Examples
    --------
    >>> ranges_to_ask_for([(0, 10), (20, 30)], 1 << 30)
    [(0, 30)]
    >>> ranges_to_ask_for([(0, 10), (1 << 20, 2 << 20)], 1 << 30)
    [(0, 10), (1048576, 2097152)]
    >>> ranges_to_ask_for([(40, 900_000)], 950_000)
    [(0, 950000)]
    """
    merged = merged_spans(spans)
    wanted = sum(stop - start for start, stop in merged)
    surplus = int(wanted * SURPLUS) + SURPLUS_BYTES
    if merged and size - wanted <= surplus:
        return [(0, size)]
    gaps = sorted(
        (after[0] - before[1], i) for i, (before, after) in enumerate(pairwise(merged))
    )
    bridged: set[int] = set()
    for gap, i in gaps:
        if gap > surplus:
            break
        surplus -= gap
        bridged.add(i)
    joined: list[Span] = []
    for i, (start, stop) in enumerate(merged):
        if i and i - 1 in bridged:
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((start, stop))
    return joined


def batches(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Yield ranges in batches of at most 32 MiB, which are noted as here one by one."""
    batch: list[Span] = []
    size = 0
    for start, stop in spans:
        for first in range(start, stop, BATCH_BYTES):
            last = min(stop, first + BATCH_BYTES)
            if batch and (size + last - first > BATCH_BYTES or len(batch) == BATCH_RANGES):
                yield batch
                batch, size = [], 0
            batch.append((first, last))
            size += last - first
    if batch:
        yield batch
