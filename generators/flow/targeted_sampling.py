"""Drawing samples towards values that a linear predictor finds in codes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from catalog import CatalogError, NotFound
from catalog.errors import closest
from catalog.plugins.ranges import Setting
from generators.codes.predictor import Predictor
from generators.flow.guidance import Pull


def pulls_toward(
    predictors: Mapping[str, Predictor],
    targets: Mapping[str, float],
    strength: float,
    *,
    extrapolate: bool = False,
) -> list[tuple[str, Pull, bool]]:
    """Column, pull, and whether the target is within what was seen, for each target.

    Raises
    ------
    NotFound
        If a column has no predictor.
    BadSetting
        If a target is no finite number.
    CatalogError
        If a target is outside of the training networks, unless extrapolation is asked for.
    """
    found = []
    for name, target in targets.items():
        if name not in predictors:
            raise NotFound(
                f"No predictor of {name!r}. {closest(name, predictors)} Fit one with "
                f"predictors=[{name!r}]."
            )
        one = predictors[name]
        Setting("toward", name, target, one.high).number()
        inside = one.low <= target <= one.high
        if not inside and not extrapolate:
            raise CatalogError(
                f"{name} = {target:g} is outside of the training networks, {one.low:g} to "
                f"{one.high:g}. Ask for a value between, or pass extrapolate=True, which "
                "marks the samples."
            )
        w = torch.from_numpy(one.coefficients)
        pull = Pull(w, one.intercept, one.error, float(target), strength)
        found.append((name, pull, inside))
    return found
