"""Metrics by name with settings other than their defaults."""

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
    """Return metrics with settings such as ``hessian.samples``.

    Parameters
    ----------
    metrics : sequence of Metric or str
        Metrics, or their names.
    settings : mapping or iterable of str
        Values by ``METRIC.FIELD``, or texts such as ``"hessian.samples=2000"``; see
        `catalog.plugins.settings`.
    option : str
        Command line option that names metrics, for errors.

    Returns
    -------
    list of Metric
        Metrics in the order of ``metrics``, with their settings.

    Raises
    ------
    NotFound
        If there is no such metric, or it has no such setting.
    CatalogError
        If a value is invalid, or belongs to a metric that is not in ``metrics``.
    """
    chosen = {m.name: m for m in (METRICS[m] if isinstance(m, str) else m for m in metrics)}
    form = "METRIC.FIELD=VALUE"
    values_by_metric: dict[str, dict[str, object]] = {}
    for setting, value in parse(settings, form).items():
        name, dot, field = setting.partition(".")
        if not dot:
            raise CatalogError(f"--set takes {form}. Got {setting!r}.")
        if name not in chosen:
            raise CatalogError(
                f"--set {setting}: {name!r} is not among the metrics to measure, "
                f"{', '.join(chosen)}. Add {option} {word(name)}"
            )
        values_by_metric.setdefault(name, {})[field] = value
    for name, values in values_by_metric.items():
        known = parameters(chosen[name])
        fields = checked(known, values, f"the metric {name!r}", f"{name}.")
        for field, value in fields.items():
            # Measures are identified by their settings as JSON, where 1 and 1.0 differ.
            if type(value) is int and float in known[field].kinds:
                fields[field] = float(value)
        try:
            chosen[name] = replace(chosen[name], **fields)
        except ValueError as error:
            raise CatalogError(f"--set {name}.{', '.join(fields)}: {error}") from error
    return list(chosen.values())
