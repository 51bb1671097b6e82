"""Requests of measuring: everything that `measure` and `downstream` are asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from catalog.console.options import option
from catalog.plugins.settings import Settings, parse
from zoo.measuring.given import check_given
from zoo.workers.request import WorkRequest

if TYPE_CHECKING:
    from zoo.metric import Metric
    from zoo.task import Data


@dataclass(frozen=True)
class MeasureRequest(WorkRequest):
    """Request to measure checkpoints of a zoo.

    Attributes
    ----------
    catalog : str or Path
        Folder of the catalogue.
    zoo : str
        Name of the zoo.
    metrics : tuple of (Metric or str), optional
        Metrics of `zoo.metrics`, or their names; default: all of the suite. Metrics given
        by name have their default settings.

    Raises
    ------
    CatalogError
        If a field is out of range, the task is unknown, or the architecture is none.
    """

    catalog: str | Path
    zoo: str
    metrics: tuple[Metric | str, ...] | None = None
    steps: str = option(
        "all",
        "--steps",
        "Measure all checkpoints of each run, or only the last one.",
        choices=("all", "last"),
    )
    where: str = option(
        "true",
        "--where",
        "SQL condition on models that selects checkpoints. Metrics that compare "
        "seeds measure every cell with a selected checkpoint as a whole. Default: "
        "all.",
        metavar="SQL",
    )
    task: str | None = option(
        None,
        "--task",
        "Task, such as digits, for imported runs that do not record one; its data "
        "are used. A task that contradicts the configuration of a run is refused.",
        metavar="NAME",
    )
    architecture: str | None = option(
        None,
        "--architecture",
        'Architecture as JSON, such as \'{"name": "mlp", "sizes": [64, 32, 10], '
        '"activation": "relu"}\', for imported runs that do not record one.',
        metavar="JSON",
    )
    seed: int = option(0, "--seed", "Seed of all random draws of the measurement.", least=0)
    again: bool = option(
        False,
        "--again",
        "Measure again checkpoints that were measured with the same settings.",
    )

    suite: ClassVar[str] = "landscape"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_given(self.task, self.architecture)

    @classmethod
    def of(
        cls,
        catalog: str | Path,
        zoo: str,
        metrics: Sequence[Metric | str] | None = None,
        *,
        settings: Settings = (),
        **options: Any,
    ) -> Self:
        """Make a request from the parameters of `measure`.

        Parameters
        ----------
        catalog, zoo, metrics, **options
            Fields of the request.
        settings : mapping or iterable of str
            Settings of metrics, see `zoo.metrics.settings.with_settings`.

        Raises
        ------
        CatalogError
            If a setting is invalid or a field is out of range.
        """
        settings = parse(settings)
        if settings:  # without settings, only the workers need torch
            from zoo.metrics import metrics as known
            from zoo.metrics.settings import with_settings

            selected = known(cls.suite) if metrics is None else metrics
            metrics = with_settings(tuple(selected), settings)
        return cls(catalog, zoo, None if metrics is None else tuple(metrics), **options)

    def to_json(self) -> dict[str, Any]:
        """Return the fields and the suite as JSON values, for `from_json`."""
        metrics = None
        if self.metrics is not None:
            metrics = [m if isinstance(m, str) else m.provenance() for m in self.metrics]
        return {**super().to_json(), "metrics": metrics, "suite": self.suite}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Make the request from the value of `to_json`, with the metrics themselves."""
        given = {k: v for k, v in values.items() if k != "suite"}
        chosen = chosen_metrics(values["metrics"], values["suite"])
        return cls(**{**given, "metrics": tuple(chosen.values())})

    def metric_of(self) -> dict[str, Metric]:
        """Return the metrics by name."""
        return chosen_metrics(self.metrics, self.suite)

    def provenance(self, metric: Metric, data: Data) -> dict[str, Any]:
        """Return everything beside the checkpoint that decides a metric's values."""
        return {**metric.provenance(), "seed": self.seed, "data": data.fingerprint}


@dataclass(frozen=True)
class DownstreamRequest(MeasureRequest):
    """Request to evaluate networks of a zoo downstream."""

    steps: str = option(
        "last",
        "--steps",
        "Measure all checkpoints of each run, or only the last one; averages over "
        "steps use all checkpoints of a run.",
        choices=("all", "last"),
    )

    suite: ClassVar[str] = "downstream"


def chosen_metrics(
    given: Sequence[Metric | str | Mapping[str, Any]] | None, suite: str = "landscape"
) -> dict[str, Metric]:
    """Return metrics by name.

    Parameters
    ----------
    given : sequence of (Metric, str or dict), optional
        Metrics, their names or their provenance; default: all of the suite.
    suite : str, default="landscape"
        Suite of `zoo.metrics`.
    """
    from zoo.metrics import METRICS, metrics

    metric_of: dict[str, Metric] = {}
    for item in given if given is not None else metrics(suite):
        if isinstance(item, Mapping):
            settings = {k: v for k, v in item.items() if k not in ("metric", "version")}
            metric = replace(METRICS[item["metric"]], **settings)
        else:
            metric = METRICS[item] if isinstance(item, str) else item
        metric_of[metric.name] = metric
    return metric_of
