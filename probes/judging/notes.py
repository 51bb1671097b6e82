"""What is missing in the scores of a judgement, and why, as lines to print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from probes.judging.folds import Folds
from probes.judging.judge import Estimate, Judgement

_ONE = {
    "run": "group of related runs",
    "sibling": "branch of a tree",
    "cell": "cell",
    "zoo": "cell",
    "tree": "branch",
}
"""What intervals resample, by how rows are split."""


def notes(
    judgement: Judgement,
    estimates: Sequence[Estimate],
    by_fold: Mapping[str, Sequence[Estimate]],
) -> list[str]:
    """Why scores or intervals are not there; empty if all are.

    Parameters
    ----------
    estimates : sequence of Estimate
        As `Judgement.estimates` gives them.
    by_fold : mapping
        Of held-out zoos or trees, as `Judgement.by_fold` gives them; else empty.
    """
    folds: Folds = judgement.folds[0]
    one, lines = _ONE[folds.by], []
    if not by_fold:
        if lacking := _lacking(estimates):
            lines.append(f"No {lacking}: {_ALIKE}.")
        if judgement.sizes == [1]:
            lines.append(f"No interval: only 1 {one} judged; use --folds N.")
        return lines
    for name, own in by_fold.items():
        if lacking := _lacking(own):
            lines.append(f"No {lacking} of {folds.by} {name}, nor in the means: {_ALIKE}.")
    alone = [name for name, m in zip(by_fold, judgement.sizes, strict=True) if m == 1]
    doubtless = [e.score for e in estimates if np.isfinite(e.value) and np.isnan(e.low)]
    if alone and doubtless:
        lines.append(
            f"No interval of {', '.join(doubtless)}: only 1 {one} judged in {folds.by} "
            f"{', '.join(alone)}; use --by run, or leave it out with --where."
        )
    return lines


_ALIKE = "the networks judged have one value or class"


def _lacking(estimates: Sequence[Estimate]) -> str:
    return ", ".join(e.score for e in estimates if not np.isfinite(e.value))
