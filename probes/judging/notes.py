"""Lines to print on missing scores and intervals of a judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from probes.judging.folds import Folds
from probes.judging.judge import Estimate, Judgement

_UNIT = {
    "run": "group of related runs",
    "sibling": "branch of a tree",
    "cell": "cell",
    "zoo": "cell",
    "tree": "branch",
}
"""Unit that intervals resample, by the way rows are split."""


def notes(
    judgement: Judgement,
    estimates: Sequence[Estimate],
    by_fold: Mapping[str, Sequence[Estimate]],
) -> list[str]:
    """Explain missing scores and intervals; empty if nothing is missing.

    Parameters
    ----------
    estimates : sequence of Estimate
        Result of `Judgement.estimates`.
    by_fold : mapping
        Result of `Judgement.by_fold` for held-out zoos or trees; otherwise empty.
    """
    folds: Folds = judgement.folds[0]
    unit, lines = _UNIT[folds.by], []
    if not by_fold:
        if missing := _missing(estimates):
            lines.append(f"No {missing}: {_CONSTANT}.")
        if judgement.sizes == [1]:
            lines.append(f"No interval: only 1 {unit} was tested; use --folds N.")
        return lines
    for name, fold_estimates in by_fold.items():
        if missing := _missing(fold_estimates):
            lines.append(
                f"No {missing} of {folds.by} {name}, which the means omit: {_CONSTANT}."
            )
    single = [name for name, m in zip(by_fold, judgement.sizes, strict=True) if m == 1]
    without_interval = [
        e.score for e in estimates if np.isfinite(e.value) and np.isnan(e.low)
    ]
    if single and without_interval:
        lines.append(
            f"No interval of {', '.join(without_interval)}: only 1 {unit} was tested in "
            f"{folds.by} {', '.join(single)}; use --by run, or exclude it with --where."
        )
    return lines


_CONSTANT = "all tested networks have the same value or class"


def _missing(estimates: Sequence[Estimate]) -> str:
    return ", ".join(e.score for e in estimates if not np.isfinite(e.value))
