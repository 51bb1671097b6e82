"""Guidance of samples towards values of linear predictors on codes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from catalog import NotFound
from catalog.errors import closest
from catalog.plugins.ranges import Setting
from generators.codes.predictor import Predictor
from generators.condition_values import EXTRAPOLATE, check_within
from generators.flow.guidance import Pull


def pulls_toward(
    predictors: Mapping[str, Predictor],
    targets: Mapping[str, float],
    strength: float,
    *,
    extrapolate: bool = False,
) -> list[tuple[str, Pull, bool]]:
    """Return column, pull, and whether the target is in range, for each target.

    Raises
    ------
    NotFound
        If a column has no predictor.
    BadSetting
        If a target is not a finite number.
    CatalogError
        If a target is outside the range of the training networks, and ``extrapolate`` is
        False.
    """
    pulls = []
    for name, target in targets.items():
        if name not in predictors:
            raise NotFound(
                f"No predictor of {name!r}. {closest(name, predictors)} Fit one with "
                f"predictors=[{name!r}]."
            )
        predictor = predictors[name]
        Setting("toward", name, target, predictor.high).number()
        if not extrapolate:
            check_within(name, target, predictor.low, predictor.high, EXTRAPOLATE)
        in_range = predictor.low <= target <= predictor.high
        w = torch.from_numpy(predictor.coefficients)
        pull = Pull(w, predictor.intercept, predictor.error, float(target), strength)
        pulls.append((name, pull, in_range))
    return pulls
