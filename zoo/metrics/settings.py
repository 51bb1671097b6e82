"""Metrics by name, with the settings that a command line gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from catalog import CatalogError, NotFound
from catalog.errors import closest
from zoo.metric import Metric
from zoo.metrics import METRICS

_FLAGS = {"true": True, "false": False}


def with_settings(
    names: Sequence[str], settings: Sequence[str], option: str = "--metric"
) -> list[Metric]:
    """Metrics by name, with settings such as ``"hessian.samples=2000"``.

    Raises
    ------
    NotFound
        If there is no such metric, or it has no such setting.
    CatalogError
        If a value does not fit, or belongs to a metric that is not asked for.
    """
    chosen = {name: METRICS[name] for name in names}
    for text in settings:
        where, equals, value = text.partition("=")
        name, dot, field = where.partition(".")
        if not (equals and dot):
            raise CatalogError(f"--set must be METRIC.FIELD=VALUE. Got {text!r}.")
        if name not in chosen:
            raise CatalogError(
                f"--set {text}: {name!r} is not measured now, which is "
                f"{', '.join(chosen)}. Add {option} {name}"
            )
        known = {f.name: getattr(chosen[name], f.name) for f in fields(chosen[name])}
        if field not in known:
            raise NotFound(f"{name} has no setting {field!r}. {closest(field, known)}")
        kind = float if known[field] is None else type(known[field])
        parsed: bool | int | float | str
        try:
            parsed = _FLAGS[value.lower()] if kind is bool else kind(value)
        except (ValueError, KeyError) as error:
            raise CatalogError(
                f"--set {text}: {field} is a {kind.__name__}, by default {known[field]}."
            ) from error
        try:
            chosen[name] = replace(chosen[name], **{field: parsed})
        except ValueError as error:
            raise CatalogError(f"--set {text}: {error}") from error
    return list(chosen.values())
