"""The residual of a flow for what samples are asked to have."""

from __future__ import annotations

from collections.abc import Mapping

from generators.codes.predictor import Predictor
from generators.flow.conditions import Conditions
from generators.flow.flow import Flow
from generators.flow.solver import Residual
from generators.flow.targeted_sampling import pulls_toward


def asked_residual(
    flow: Flow,
    conditions: Conditions,
    predictors: Mapping[str, Predictor],
    condition: Mapping[str, float | str] | None,
    guidance: float = 1.0,
    *,
    toward: Mapping[str, float] | None = None,
    strength: float = 1.0,
    extrapolate: bool = False,
) -> tuple[Residual, list[str]]:
    """Return the residual to integrate, and the columns that are out of range.

    Parameters
    ----------
    flow : Flow
    conditions : Conditions
        Columns that the flow was conditioned on.
    predictors : mapping of str to Predictor
    condition : mapping or None
        Values of some or all of the columns.
    guidance : float, default=1.0
        Strength of the condition.
    toward : mapping, optional
        Target values by predictor.
    strength : float, default=1.0
        Strength of the guidance towards these values.
    extrapolate : bool, default=False
        Allow values outside the range of the training networks.

    Raises
    ------
    NotFound
        If a condition or predictor is unknown.
    CatalogError
        If a value is out of range or not finite.
    """
    features, outside = None, list[str]()
    if condition:
        features, outside = conditions.asked(condition, extrapolate=extrapolate)
    pulls = pulls_toward(predictors, toward or {}, strength, extrapolate=extrapolate)
    outside += [name for name, _, inside in pulls if not inside]
    residual = flow.residual(
        features, guidance=guidance, pulls=[pull for _, pull, _ in pulls]
    )
    return residual, outside
