"""Fit of a DeepWeightFlow: alignment, codes, flow and predictors, in this order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from catalog import Canonicaliser, CatalogError, Population
from catalog.alignment import Outputs
from catalog.dtypes import Array
from generators.codes.canonical import fitted_canonicaliser, in_canonical_units, last_rows
from generators.codes.codes import Codes
from generators.codes.predictor import Predictor
from generators.codes.standardised import Standardised
from generators.codes.training_set import check_training, split_by_run
from generators.flow.conditions import Conditions, Numeric
from generators.flow.fitting import fitted_flow
from generators.flow.flow import Flow
from generators.flow.rows import FlowRows
from generators.methods.choices import chosen_network, usual_schedule

HELD_OUT = 0.1
"""Share of runs that are held out for early stopping if no validation set is given."""


@dataclass(frozen=True)
class Fitted:
    """Fitted parts of a DeepWeightFlow, its attributes of these names with an underscore.

    Files of generators have them in this order.

    Attributes
    ----------
    conditions : Conditions
    canonicaliser : Canonicaliser or None
    training : Population
    codes : Codes or Standardised
    flow : Flow
    predictors : dict of str to Predictor
    """

    conditions: Conditions
    canonicaliser: Canonicaliser | None
    training: Population
    codes: Codes | Standardised
    flow: Flow
    predictors: dict[str, Predictor]


def fitted(
    asked: Any,
    population: Population,
    validation: Population | None,
    check: Outputs | Literal[False] | None,
    label: str | None,
) -> Fitted:
    """Fit the parts of a generator to networks; raises as `DeepWeightFlow.fit`.

    Parameters
    ----------
    asked : DeepWeightFlow
        Generator with the settings.
    population, validation, check, label
        Arguments of `DeepWeightFlow.fit`.

    Notes
    -----
    Memory beyond the given networks: the canonical ones (n d values), the basis (k d) and
    codes (n k) in float32, a matrix of min(n, d)^2 float64 twice, and blocks of 32 MiB.
    Learnt steps also need the spread of the noise (k d) and 8,192 rows of noise.
    """
    network, sizes = chosen_network(asked, population)
    schedule = asked.schedule or usual_schedule(network, sizes)
    check_training(population, validation, asked.fewest)
    conditions = Conditions.fit(population.table, asked.conditions)
    _check_numbers(Conditions.fit(population.table, asked.predictors))
    if validation is None and schedule.keep == "validation":
        population, validation = split_by_run(population, HELD_OUT, asked.seed)
    canonicaliser = None
    if asked.strategy is not None:
        canonicaliser = fitted_canonicaliser(
            population,
            check,
            strategy=asked.strategy,
            balance=asked.balance,
            reference=asked.reference,
            seed=asked.seed,
        )
    training = in_canonical_units(canonicaliser, population)
    codes, units = _fitted_codes(asked, training, network)
    values = codes.encode(training.weights)
    held = None
    if validation is not None:
        aligned = in_canonical_units(canonicaliser, validation)
        held = _flow_rows(codes.encode(aligned.weights), conditions, validation)
    flow = fitted_flow(
        _flow_rows(values, conditions, population),
        codes.deviation,
        held,
        schedule,
        network=network,
        sizes=sizes,
        units=units,
        source=asked.source,
        solver=asked.solver,
        tolerance=asked.tolerance,
        seed=asked.seed,
        label=label,
    )
    predictors = {
        name: Predictor.fit(values, population[name]) for name in asked.predictors
    }
    return Fitted(conditions, canonicaliser, training, codes, flow, predictors)


def _check_numbers(targets: Conditions) -> None:
    """Raise an error if a column to predict holds no numbers."""
    for name, column in targets.columns.items():
        if not isinstance(column, Numeric):
            raise CatalogError(
                f"Column {name!r} holds no numbers, so it cannot be predicted. "
                "Leave it out of predictors, or name a column of numbers."
            )


def _fitted_codes(
    asked: Any, training: Population, network: str
) -> tuple[Codes | Standardised, tuple[Array, Array, Array] | None]:
    """Return codes of aligned networks, and units that the velocity network reads."""
    weights, layout, runs = training.weights, training.layout, last_rows(training)[1]
    if network == "learnt_steps":
        standardised = Standardised.fit(
            weights, layout, shrinkage=asked.shrinkage, runs=runs
        )
        units = standardised.mean, standardised.scale, standardised.spread
        return standardised, units
    codes = Codes.fit(
        weights,
        layout,
        tensors=asked.tensors,
        k=asked.components,
        whiten=asked.whiten,
        shrinkage=asked.shrinkage,
        runs=runs,
    )
    return codes, None


def _flow_rows(values: Array, conditions: Conditions, population: Population) -> FlowRows:
    features = None
    if conditions.columns:
        features = torch.from_numpy(conditions.encode(population.table))
    return FlowRows(torch.from_numpy(values), features, tuple(conditions.spans.values()))
