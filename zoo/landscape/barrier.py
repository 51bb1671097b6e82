"""Loss and error along the straight line between two networks.

The barrier is the largest value on the line minus the mean of the values at the two ends
[1]_. The line is evaluated on training and test samples. The statistics of batch
normalisation are estimated anew at every point, the ends included.

References
----------
.. [1] Frankle et al. 2020, arXiv:1912.05671; Ainsworth et al. 2022, arXiv:2209.04836.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from catalog import Layout
from catalog.dtypes import Array
from zoo.engine.evaluate import Evaluation
from zoo.engine.stack_weights import StackWeights
from zoo.landscape.softmax_temperature import inverse_temperature
from zoo.merging.joint_view import joint_views, subsample
from zoo.merging.made_weights import Group, refresh_weights, stacked_rows
from zoo.networks import Networks, Progress
from zoo.objective import LogitObjective

JUDGED = ("train", "test")


@dataclass(frozen=True)
class Lines:
    """Loss and error of the networks on m straight lines.

    Attributes
    ----------
    t : ndarray of shape (points,)
        Positions on the line: 0 is the first end, 1 the last.
    loss, error : dict of str to ndarray of shape (m, points)
        Loss and error by split. The error is 1 - accuracy, or the relative error.
    calibrated : dict of str to ndarray of shape (m, points)
        Loss at the softmax temperature of each point, by split; empty without
        ``calibrate`` or if the networks have no logits.
    inverse_temperature : ndarray of shape (m, points)
        Factor of the logits; NaN without ``calibrate`` or if the networks have no logits.
    """

    t: Array
    loss: dict[str, Array]
    error: dict[str, Array]
    calibrated: dict[str, Array] = field(default_factory=dict)
    inverse_temperature: Array = field(default_factory=lambda: np.empty((0, 0)))


def barrier_height(values: Array, ends: Array | None = None) -> Array:
    """Return the largest value on each line minus the mean of the two ends.

    Parameters
    ----------
    values : ndarray of shape (m, points)
        Values along each line.
    ends : ndarray of shape (m,), optional
        Values to subtract; by default the means of the first and last values.

    Returns
    -------
    ndarray of shape (m,)
        Barriers; NaN where a value is not finite. As the ends are points of the line, a
        barrier is at least half the difference of the two end values.

    Examples
    --------
    >>> barrier_height(np.array([[1.0, 4.0, 2.0]]))
    array([2.5])
    """
    finite = np.logical_and.reduce(np.isfinite(values), axis=1)
    finite_values = np.where(finite[:, None], values, 0.0)
    level = (finite_values[:, 0] + finite_values[:, -1]) / 2 if ends is None else ends
    return np.where(finite, finite_values.max(1) - level, np.nan)


def along_lines(
    networks: Networks,
    first: Array,
    last: Array,
    groups: Sequence[Group],
    *,
    points: int = 11,
    splits: Sequence[str] = JUDGED,
    samples: int | None = None,
    refreshed: int = 2048,
    calibrate: str | None = None,
    seed: int = 0,
    progress: Progress = lambda share: None,
) -> Lines:
    """Evaluate m lines at evenly spaced points, all points of all lines at once.

    Parameters
    ----------
    networks : Networks
        Networks that the lines belong to.
    first, last : ndarray of shape (m, d)
        Weights of the ends, which may be those of a network aligned to another.
    groups : sequence of m rows
        Rows of ``networks`` that each line belongs to: the line is evaluated on the
        samples of these networks.
    points : int, default=11
        Number of points per line, at least 2. Published barriers use 11 and 25.
    splits : sequence of str, default=JUDGED
        Splits to evaluate on.
    samples : int, optional
        Number of samples of each split; by default all.
    refreshed : int, default=2048
        Number of training inputs for the statistics of batch normalisation.
    calibrate : str, optional
        Split on whose samples each point's softmax temperature is chosen, but not the
        test split. Permutations may matter less than the temperature of interpolated
        networks [1]_, so a barrier without calibration may be exaggerated.
    seed : int, default=0
        Seed of the random samples.
    progress : callable, optional
        Called with the share of points that are done.

    Returns
    -------
    Lines

    Raises
    ------
    ValueError
        If there are fewer than 2 points, or ``calibrate`` is the test split.

    References
    ----------
    .. [1] Theus et al. 2025, arXiv:2510.08023.
    """
    if points < 2:
        raise ValueError(f"The points parameter must be at least 2. Got {points}.")
    if calibrate == "test":
        raise ValueError(
            "The calibrate parameter must not be 'test': the test split is reserved "
            "for the result. Use 'train' or 'validation'."
        )
    has_logits = isinstance(networks.objective, LogitObjective)
    calibrate = calibrate if has_logits else None
    m, evaluated_splits = len(first), [*splits]
    if calibrate is not None and calibrate not in evaluated_splits:
        evaluated_splits.append(calibrate)
    views = {split: joint_views(networks, groups, split) for split in evaluated_splits}
    if samples is not None:
        views = {
            split: [subsample(v, samples, f"judged on {split}", seed) for v in line_views]
            for split, line_views in views.items()
        }
    lengths = sum(
        max((len(v.index) for v in line_views), default=0) for line_views in views.values()
    )
    architecture, layout = networks.architecture, networks.architecture.layout
    row_bytes = 20 * layout.d + lengths * (
        40 + 8 * (_outputs(networks) if has_logits else 0)
    )
    loss, error, calibrated = (
        {s: np.full((m, points), np.nan) for s in evaluated_splits} for _ in "abc"
    )
    inverse_temperatures, t = np.full((m, points), np.nan), np.linspace(0, 1, points)
    for part in stacked_rows(m * points, row_bytes):
        rows = np.arange(m * points)[part]
        line, point = np.divmod(rows, points)
        line_groups = [groups[i] for i in line]
        weights = between(first[line], last[line], t[point])
        weights = refresh_weights(
            networks, weights, line_groups, samples=refreshed, seed=seed
        )
        stack = StackWeights(layout, weights, networks.device)
        runs = [networks.runs[int(group[0])] for group in line_groups]
        judges = {
            split: Evaluation(
                networks.data, split, runs, [line_views[i] for i in line], networks.device
            )
            for split, line_views in views.items()
        }
        if calibrate is None:
            for split, judge in judges.items():
                score = judge.score(architecture, stack.tensors)
                loss[split][line, point], error[split][line, point] = (
                    score.loss,
                    score.error,
                )
        else:
            logits = {s: j.logits(architecture, stack.tensors) for s, j in judges.items()}
            judge = judges[calibrate]
            beta = inverse_temperature(logits[calibrate], judge.labels, judge.counted)
            inverse_temperatures[line, point] = beta.cpu().numpy()
            shape = (-1, *[1] * (logits[calibrate].dim() - 1))
            for split, judge in judges.items():
                score = judge.score_logits(logits[split])
                loss[split][line, point], error[split][line, point] = (
                    score.loss,
                    score.error,
                )
                scaled = judge.score_logits(logits[split] * beta.view(shape))
                calibrated[split][line, point] = scaled.loss
        progress((rows[-1] + 1) / (m * points))
    return Lines(
        t,
        {s: loss[s] for s in splits},
        {s: error[s] for s in splits},
        {s: calibrated[s] for s in splits} if calibrate is not None else {},
        inverse_temperatures,
    )


def between(first: Array, last: Array, t: Array) -> Array:
    """Return the points (k, d) of lines at t (k,), equal to the ends at t = 0 and 1."""
    ends = (torch.from_numpy(np.ascontiguousarray(w)) for w in (first, last))
    share = torch.from_numpy(np.asarray(t, np.float32))[:, None]
    return torch.lerp(*ends, share).numpy()  # type: ignore[call-overload]


def layers(layout: Layout) -> dict[str, list[str]]:
    """Group the names of tensors by layer, the part of a name before its last dot.

    Examples
    --------
    >>> from catalog import Param
    >>> layers(Layout((Param("fc.weight", (2, 2)), Param("fc.bias", (2,)))))
    {'fc': ['fc.weight', 'fc.bias']}
    """
    names_by_layer: dict[str, list[str]] = {}
    for param in layout:
        if param.in_vector:
            names_by_layer.setdefault(
                param.name.rpartition(".")[0] or param.name, []
            ).append(param.name)
    return names_by_layer


def layer_barriers(
    networks: Networks,
    first: Array,
    last: Array,
    groups: Sequence[Group],
    *,
    parts: Mapping[str, Sequence[str]] | None = None,
    split: str = "train",
    points: int = 11,
    samples: int | None = None,
    refreshed: int = 2048,
    seed: int = 0,
) -> dict[str, Array]:
    """Return barriers of the loss when only one layer is interpolated [1]_.

    A layer is interpolated once in the first network towards the last and once in the
    last network towards the first, and the two barriers are averaged. A barrier is the
    largest loss minus the mean loss of the two original networks.

    Parameters
    ----------
    networks, first, last, groups, points, samples, refreshed, seed
        As in `along_lines`.
    parts : mapping of str to sequence of str, optional
        Names of the tensors that are interpolated together, by layer; by default
        `layers`.
    split : str, default="train"
        Split to evaluate on.

    Returns
    -------
    dict of str to ndarray of shape (m,)
        Barriers by layer.

    References
    ----------
    .. [1] Adilova et al. 2023, arXiv:2307.06966.
    """
    layout = networks.architecture.layout
    parts = layers(layout) if parts is None else parts
    m = len(first)
    options = {"samples": samples, "refreshed": refreshed, "seed": seed}
    ends = along_lines(networks, first, last, groups, points=2, splits=(split,), **options)  # type: ignore[arg-type]
    end_loss = ends.loss[split].mean(1)
    barriers = {}
    for name, tensors in parts.items():
        interpolated = np.zeros(layout.d, bool)
        for tensor in tensors:
            interpolated[layout.slices[tensor]] = True
        starts = np.concatenate([first, last])
        stops = np.where(interpolated, np.concatenate([last, first]), starts)
        lines = along_lines(
            networks, starts, stops, [*groups, *groups], points=points,
            splits=(split,), **options,  # type: ignore[arg-type]
        )  # fmt: skip
        heights = barrier_height(lines.loss[split], np.concatenate([end_loss, end_loss]))
        barriers[name] = heights.reshape(2, m).mean(0)
    return barriers


def _outputs(networks: Networks) -> int:
    """Count the logits of a sample: rows of the last matrix times labels of a sample."""
    layout, labels = networks.architecture.layout, networks.data.y["train"]
    rows = next((p.shape[0] for p in reversed(layout.params) if len(p.shape) > 1), 1)
    return rows * math.prod(labels.shape[1:])
