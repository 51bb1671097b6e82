"""Probes by name, and `--set NAME=VALUE` as their parameters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import Field, fields
from typing import Any

from catalog import CatalogError, NotFound
from catalog.errors import closest
from probes.estimators import PROBES
from probes.probe import Probe

_GIVEN = ("task", "layout", "layer", "described", "relative", "random_state")
"""Parameters that the command fills in itself."""


def probe_named(name: str, settings: Sequence[str] = ()) -> Probe:
    """An unfitted probe.

    Parameters
    ----------
    settings : sequence of str
        Each ``NAME=VALUE``; the value is JSON, or else text.

    Raises
    ------
    NotFound
        If there is no such probe or parameter, with the closest names.
    CatalogError
        If a value has another type.
    """
    kind = PROBES[name]
    probe: Probe = kind()
    known = [key for key in probe.get_params(deep=False) if key not in _GIVEN]
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise CatalogError(f"--set takes NAME=VALUE. Got {setting!r}.")
        if key not in known:
            raise NotFound(
                f"The probe {name!r} has no parameter {key!r}. {closest(key, known)}"
            )
        try:
            values[key] = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            values[key] = text
    for field in fields(kind):
        if field.name in values:
            _check(name, field, values[field.name])
    probe.set_params(**values)
    return probe


def _check(name: str, field: Field[Any], value: Any) -> None:
    """Refuse a value of another type than the default, or than the annotation says."""
    said, default = str(field.type), field.default
    if default is None or "Any" in said or (value is None and "None" in said):
        return
    fits = type(value) is type(default)
    if not fits and not (type(default) is float and type(value) is int):
        raise CatalogError(
            f"--set {field.name}: it is {said} in the probe {name!r}, by default "
            f"{default!r}. Got {value!r}."
        )
