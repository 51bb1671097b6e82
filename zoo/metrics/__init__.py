"""Metrics of checkpoints: one module and one import line per metric."""

from catalog.console.outlet import note
from catalog.plugins.registry import Registry
from zoo.metric import Metric
from zoo.metrics.average_seeds import average_seeds as average_seeds
from zoo.metrics.average_steps import average_steps as average_steps
from zoo.metrics.barrier import barrier as barrier
from zoo.metrics.cka import cka as cka
from zoo.metrics.ensemble import ensemble as ensemble
from zoo.metrics.gradient_noise import gradient_noise as gradient_noise
from zoo.metrics.hessian import hessian as hessian
from zoo.metrics.mode_connectivity import mode_connectivity as mode_connectivity
from zoo.metrics.noise import noise as noise
from zoo.metrics.pruning import pruning as pruning
from zoo.metrics.scores import scores as scores
from zoo.metrics.transfer import transfer as transfer
from zoo.metrics.weight_distance import weight_distance as weight_distance

METRICS: Registry[Metric] = Registry("metric", Metric, __name__)


def metrics(suite: str | None = None) -> dict[str, Metric]:
    """Return all metrics by name, or those of one suite, with their default settings."""
    return {name: m for name, m in METRICS.usable(note).items() if suite in (None, m.suite)}
