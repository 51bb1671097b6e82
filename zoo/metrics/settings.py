"""Metrics by name, with settings in place of their defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from catalog import CatalogError
from catalog.console.pasting import word
from catalog.plugins.parameters import parameters
from catalog.plugins.settings import Settings, checked, parse
from zoo.metric import Metric
from zoo.metrics import METRICS


def with_settings(
    metrics: Sequence[Metric | str], settings: Settings = (), option: str = "--metric"
) -> list[Metric]:
    """Return metrics, by name or as they are, with settings such as ``hessian.samples``.

    Parameters
    ----------
    metrics : sequence of Metric or str
    settings : mapping or iterable of str
        Values by ``METRIC.FIELD``, or texts such as ``"hessian.samples=2000"``; see
        `catalog.plugins.settings`.
    option : str
        The one that names metrics, for errors.

    Raises
    ------
    NotFound
        If there is no such metric, or it has no such setting.
    CatalogError
        If a value does not fit, or belongs to a metric that is not asked for.
    """
    chosen = {m.name: m for m in (METRICS[m] if isinstance(m, str) else m for m in metrics)}
    form = "METRIC.FIELD=VALUE"
    own: dict[str, dict[str, object]] = {}
    for where, value in parse(settings, form).items():
        name, dot, field = where.partition(".")
        if not dot:
            raise CatalogError(f"--set takes {form}. Got {where!r}.")
        if name not in chosen:
            raise CatalogError(
                f"--set {where}: {name!r} is not measured now, which is "
                f"{', '.join(chosen)}. Add {option} {word(name)}"
            )
        own.setdefault(name, {})[field] = value
    for name, values in own.items():
        known = parameters(chosen[name])
        fields = checked(known, values, f"the metric {name!r}", f"{name}.")
        for field, value in fields.items():
            # Measures are known by their settings as JSON, where 1 and 1.0 differ.
            if type(value) is int and float in known[field].kinds:
                fields[field] = float(value)
        try:
            chosen[name] = replace(chosen[name], **fields)
        except ValueError as error:
            raise CatalogError(f"--set {name}.{', '.join(fields)}: {error}") from error
    return list(chosen.values())
