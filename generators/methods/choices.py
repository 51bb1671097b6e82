"""What a DeepWeightFlow is asked to be: settings checked, its velocity network chosen."""

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
"""Sizes of networks that may be 0."""


def check_choices(asked: Any) -> None:
    """Refuse settings that cannot be, whatever the networks are.

    Raises
    ------
    NotFound
        If there is no such velocity, size of it, or strategy.
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


def check_request(**numbers: float) -> None:
    """Refuse values of `DeepWeightFlow.sample` that are no finite numbers.

    Raises
    ------
    BadSetting
        If one is none, or a temperature is negative.
    """
    for name, value in numbers.items():
        own = Setting("sample", name, value, 1.0)
        own.number(0) if name == "temperature" else own.number()


def chosen_network(asked: Any, population: Population) -> tuple[str, dict[str, Any]]:
    """The velocity network for these networks, and its sizes.

    Raises
    ------
    CatalogError
        If learnt steps are asked for, and cannot run the networks.
    """
    sizes = dict(asked.sizes or {})
    if asked.velocity not in (None, "learnt_steps"):
        return str(asked.velocity), sizes
    plain = asked.tensors == "*" and asked.components is None and asked.source is None
    # Sizes without a name are those of film_mlp, the network that fits all.
    plain = plain and (asked.velocity is not None or not sizes)
    plain = plain and asked.whiten and not asked.predictors
    config = runnable(population) if plain else None
    if config is not None:
        # A saved generator keeps its inputs whatever becomes of the default.
        inputs = sizes.get("inputs") or usual_inputs(config)
        return "learnt_steps", {**sizes, "inputs": inputs, "architecture": config}
    if asked.velocity is None:
        return "film_mlp", sizes
    raise CatalogError(
        "velocity='learnt_steps' runs the networks that it makes: it needs networks of "
        "a recorded architecture that is a chain of affine maps, such as mlp or "
        "cnn_small, and all of their tensors, without components, source, or "
        "predictors. Leave velocity out to use film_mlp where that is not so."
    )


def usual_schedule(network: str, sizes: Mapping[str, Any]) -> Schedule:
    """How that velocity network is learned, if nothing else is asked for."""
    if network != "learnt_steps":
        return Schedule()
    return OF_CONVOLUTIONS if convolves(sizes["architecture"]) else OF_LEARNT_STEPS


def _check_columns(setting: Setting) -> None:
    if not _is_names(setting.value):
        own = setting.value if isinstance(setting.value, str) else "test_accuracy"
        setting.wrong(f"must be a sequence of columns, such as ({own!r},)")


def _is_names(value: object) -> bool:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return False
    return all(isinstance(one, str) for one in value)


def _check_sizes(network: str, sizes: Mapping[str, Any]) -> None:
    known = {
        name: parameter.default
        for name, parameter in inspect.signature(NETWORKS[network]).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
        and parameter.default is not parameter.empty
    }
    for name, value in sizes.items():
        if name not in known:
            default = ", ".join(f"{key!r}: {own}" for key, own in known.items())
            raise NotFound(
                f"The velocity {network!r} has no size {name!r}. {closest(name, known)} By "
                f"default sizes={{{default}}}."
            )
        own = Setting(network, name, value, known[name])
        if isinstance(known[name], float):
            own.number(0, 1, ends="[)")  # dropout
        else:
            own.whole(0 if (network, name) in NONE else 1)
