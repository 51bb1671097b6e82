"""Checks of the settings of a DeepWeightFlow, and the choice of its velocity network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from catalog import CatalogError, NotFound, Population
from catalog.alignment.canonicaliser import Strategy
from catalog.errors import closest
from catalog.plugins.ranges import Setting
from generators.codes.canonical import runnable
from generators.flow.networks.learnt_steps import convolves, usual_inputs
from generators.flow.schedule import OF_CONVOLUTIONS, OF_LEARNT_STEPS, Schedule
from generators.flow.solver import Solver
from generators.flow.velocity import NETWORKS

NONE = {("film_mlp", "depth"), ("learnt_steps", "width")}
"""Sizes of velocity networks that may be 0, as (network, size)."""


def check_choices(asked: Any) -> None:
    """Check the settings of a DeepWeightFlow, independently of any networks.

    Parameters
    ----------
    asked : DeepWeightFlow
        Unfitted generator.

    Raises
    ------
    NotFound
        If there is no such velocity, size of a velocity, or strategy.
    BadSetting
        If a value has another type, or is out of range.
    """

    def setting(name: str) -> Setting:
        default = inspect.signature(type(asked)).parameters[name].default
        return Setting(type(asked).__name__, name, getattr(asked, name), default)

    for name in ("conditions", "predictors"):
        _check_columns(setting(name))
    if not isinstance(asked.tensors, str) and not _is_names(asked.tensors):
        setting("tensors").wrong("must be a glob or a sequence of globs")
    if asked.components is not None:
        setting("components").whole(1)
    if not isinstance(asked.whiten, bool):
        setting("whiten").wrong("must be True or False")
    if asked.shrinkage is not None:
        setting("shrinkage").number(0, 1)
    if asked.source is not None:
        setting("source").number(0, ends="()")
    if asked.strategy is not None:
        setting("strategy").one_of(get_args(Strategy))
    if asked.reference is not None:
        setting("reference").whole(0)
    if not isinstance(asked.schedule, Schedule | None):
        setting("schedule").wrong("must be a Schedule, such as Schedule(iterations=500)")
    if not isinstance(asked.solver, Solver | None):
        setting("solver").wrong("must be a Solver, such as Solver('rk4', 8)")
    setting("tolerance").number(0)
    setting("seed").whole(0)
    if asked.velocity not in (None, *NETWORKS):
        raise NotFound(
            f"No velocity {asked.velocity!r}. {closest(str(asked.velocity), NETWORKS)}"
        )
    if asked.velocity == "published_mlp" and asked.conditions:
        setting("velocity").wrong("takes no conditions")
    if not isinstance(asked.sizes, Mapping | None):
        setting("sizes").wrong('must be a mapping, such as {"width": 256}')
    _check_sizes(asked.velocity or "film_mlp", asked.sizes or {})


def check_request(
    n: int,
    best_of: int,
    score: object,
    temperature: float,
    guidance: float,
    strength: float,
) -> None:
    """Check arguments of `DeepWeightFlow.sample`.

    Raises
    ------
    BadSetting
        If one of the numbers is not finite, or the temperature is negative.
    ValueError
        If there is nothing to sample.
    CatalogError
        If there are several candidates for a sample, but no score to choose by.
    """
    Setting("sample", "temperature", temperature, 1.0).number(0)
    Setting("sample", "guidance", guidance, 1.0).number()
    Setting("sample", "strength", strength, 1.0).number()
    if n < 1 or best_of < 1:
        raise ValueError(f"n and best_of must be 1 or more. Got {n} and {best_of}.")
    if best_of > 1 and score is None:
        raise CatalogError(
            f"best_of = {best_of} needs score=, a function from a Population to one "
            "number per network, such as accuracy on validation data."
        )


def chosen_network(asked: Any, population: Population) -> tuple[str, dict[str, Any]]:
    """Return the name and the sizes of the velocity network for a population.

    Parameters
    ----------
    asked : DeepWeightFlow
        Generator with the settings.
    population : Population

    Raises
    ------
    CatalogError
        If learnt steps are required but cannot run the networks.
    """
    sizes = dict(asked.sizes or {})
    if asked.velocity not in (None, "learnt_steps"):
        return str(asked.velocity), sizes
    is_plain = asked.tensors == "*" and asked.components is None and asked.source is None
    # Sizes without a velocity are sizes of film_mlp, which suits all networks.
    is_plain = is_plain and (asked.velocity is not None or not sizes)
    is_plain = is_plain and asked.whiten and not asked.predictors
    config = runnable(population) if is_plain else None
    if config is not None:
        # Stored explicitly: a saved generator must not change if the default does.
        inputs = sizes.get("inputs") or usual_inputs(config)
        return "learnt_steps", {**sizes, "inputs": inputs, "architecture": config}
    if asked.velocity is None:
        return "film_mlp", sizes
    raise CatalogError(
        "velocity='learnt_steps' runs the networks that it makes, so it needs networks of "
        "a recorded architecture that is a chain of affine maps, such as mlp or "
        "cnn_small, and all of their tensors, without components, source or "
        "predictors. Leave velocity out: film_mlp is used for other networks."
    )


def usual_schedule(network: str, sizes: Mapping[str, Any]) -> Schedule:
    """Return the default schedule of a velocity network."""
    if network != "learnt_steps":
        return Schedule()
    return OF_CONVOLUTIONS if convolves(sizes["architecture"]) else OF_LEARNT_STEPS


def _check_columns(setting: Setting) -> None:
    if not _is_names(setting.value):
        column = setting.value if isinstance(setting.value, str) else "test_accuracy"
        setting.wrong(f"must be a sequence of columns, such as ({column!r},)")


def _is_names(value: object) -> bool:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return False
    return all(isinstance(name, str) for name in value)


def _check_sizes(network: str, sizes: Mapping[str, Any]) -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(NETWORKS[network]).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
        and parameter.default is not parameter.empty
    }
    for name, value in sizes.items():
        if name not in defaults:
            listed = ", ".join(f"{key!r}: {size}" for key, size in defaults.items())
            raise NotFound(
                f"The velocity {network!r} has no size {name!r}. {closest(name, defaults)} "
                f"By default sizes={{{listed}}}."
            )
        size_setting = Setting(network, name, value, defaults[name])
        if isinstance(defaults[name], float):
            size_setting.number(0, 1, ends="[)")  # dropout
        else:
            size_setting.whole(0 if (network, name) in NONE else 1)
