"""How loss and error change along the straight line between networks.

The barrier is the largest value on the line minus the mean of its two ends [1]_. The line
is judged on training and test samples; statistics of batch normalisation are estimated
anew at every point, the ends included.

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
    """What networks on m straight lines are like.

    Attributes
    ----------
    t : ndarray of shape (points,)
        0 is the first end, 1 the last.
    loss, error : dict of str to ndarray of shape (m, points)
        By split. Error: 1 - accuracy, or the relative error.
    calibrated : dict of str to ndarray of shape (m, points)
        Loss at the temperature of each point; empty if that was not asked for or the
        networks give no logits.
    inverse_temperature : ndarray of shape (m, points)
        Factor of the logits; NaN likewise.
    """

    t: Array
    loss: dict[str, Array]
    error: dict[str, Array]
    calibrated: dict[str, Array] = field(default_factory=dict)
    inverse_temperature: Array = field(default_factory=lambda: np.empty((0, 0)))


def barrier_height(values: Array, ends: Array | None = None) -> Array:
    """Largest value along each line minus the mean of the two ends.

    Parameters
    ----------
    values : ndarray of shape (m, points)
    ends : ndarray of shape (m,), optional
        What to subtract; default the mean of first and last value.

    Returns
    -------
    ndarray of shape (m,)
        NaN where a value is not finite. At least half the distance of unequal ends, which
        are points of the line too.

    Examples
    --------
    >>> barrier_height(np.array([[1.0, 4.0, 2.0]]))
    array([2.5])
    """
    finite = np.logical_and.reduce(np.isfinite(values), axis=1)
    kept = np.where(finite[:, None], values, 0.0)
    level = (kept[:, 0] + kept[:, -1]) / 2 if ends is None else ends
    return np.where(finite, kept.max(1) - level, np.nan)


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
    """Judge m lines at evenly spaced points, all points of all lines side by side.

    Parameters
    ----------
    networks : Networks
        Where the ends come from.
    first, last : ndarray of shape (m, d)
        Ends; those of a network that was aligned to another, say.
    groups : sequence of m rows
        Networks that a line belongs to: it is judged on what these see.
    points : int, default=11
        At least 2; published are 11 and 25.
    samples, refreshed : int
        Samples of each split (default all), and training inputs for statistics.
    calibrate : str, optional
        Split on whose samples each point's softmax temperature is chosen. Permutations
        may matter less than the temperature of interpolated networks [1]_, so a barrier
        without it says too much. Never the test split.

    Raises
    ------
    ValueError
        If there are fewer than 2 points, or the temperature would be chosen on the test
        split.

    References
    ----------
    .. [1] Theus et al. 2025, arXiv:2510.08023.
    """
    if points < 2:
        raise ValueError(f"A line needs at least 2 points. Got {points}.")
    if calibrate == "test":
        raise ValueError(
            "The temperature would be chosen on the test split, which is for the result "
            "alone. Choose it on 'train' or 'validation'."
        )
    scored = isinstance(networks.objective, LogitObjective)
    calibrate = calibrate if scored else None
    m, needed = len(first), [*splits]
    if calibrate is not None and calibrate not in needed:
        needed.append(calibrate)
    views = {split: joint_views(networks, groups, split) for split in needed}
    if samples is not None:
        views = {
            split: [subsample(v, samples, f"judged on {split}", seed) for v in own]
            for split, own in views.items()
        }
    lengths = sum(max((len(v.index) for v in own), default=0) for own in views.values())
    architecture, layout = networks.architecture, networks.architecture.layout
    each = 20 * layout.d + lengths * (40 + 8 * (_outputs(networks) if scored else 0))
    loss, error, calm = ({s: np.full((m, points), np.nan) for s in needed} for _ in "abc")
    factor, t = np.full((m, points), np.nan), np.linspace(0, 1, points)
    for part in stacked_rows(m * points, each):
        rows = np.arange(m * points)[part]
        line, at = np.divmod(rows, points)
        own = [groups[i] for i in line]
        weights = between(first[line], last[line], t[at])
        weights = refresh_weights(networks, weights, own, samples=refreshed, seed=seed)
        stack = StackWeights(layout, weights, networks.device)
        runs = [networks.runs[int(group[0])] for group in own]
        judges = {
            split: Evaluation(
                networks.data, split, runs, [found[i] for i in line], networks.device
            )
            for split, found in views.items()
        }
        if calibrate is None:
            for split, judge in judges.items():
                score = judge.score(architecture, stack.tensors)
                loss[split][line, at], error[split][line, at] = score.loss, score.error
        else:
            logits = {s: j.logits(architecture, stack.tensors) for s, j in judges.items()}
            judge = judges[calibrate]
            beta = inverse_temperature(logits[calibrate], judge.labels, judge.counted)
            factor[line, at] = beta.cpu().numpy()
            shape = (-1, *[1] * (logits[calibrate].dim() - 1))
            for split, judge in judges.items():
                score = judge.score_logits(logits[split])
                loss[split][line, at], error[split][line, at] = score.loss, score.error
                scaled = judge.score_logits(logits[split] * beta.view(shape))
                calm[split][line, at] = scaled.loss
        progress((rows[-1] + 1) / (m * points))
    return Lines(
        t,
        {s: loss[s] for s in splits},
        {s: error[s] for s in splits},
        {s: calm[s] for s in splits} if calibrate is not None else {},
        factor,
    )


def between(first: Array, last: Array, t: Array) -> Array:
    """Points (k, d) of lines at t (k,); exactly the ends at 0 and 1."""
    ends = (torch.from_numpy(np.ascontiguousarray(w)) for w in (first, last))
    share = torch.from_numpy(np.asarray(t, np.float32))[:, None]
    return torch.lerp(*ends, share).numpy()  # type: ignore[call-overload]


def layers(layout: Layout) -> dict[str, list[str]]:
    """Tensors by layer: by what stands before the last dot of their names.

    Examples
    --------
    >>> from catalog import Param
    >>> layers(Layout((Param("fc.weight", (2, 2)), Param("fc.bias", (2,)))))
    {'fc': ['fc.weight', 'fc.bias']}
    """
    found: dict[str, list[str]] = {}
    for param in layout:
        if param.in_vector:
            found.setdefault(param.name.rpartition(".")[0] or param.name, []).append(
                param.name
            )
    return found


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
    """Barriers of the loss where one layer is interpolated and the rest stays [1]_.

    Once in the first network towards the last and once the other way round; the mean of
    both. What counts is the loss above the mean of the two whole networks.

    Parameters
    ----------
    parts : mapping of str to sequence of str, optional
        Names of tensors that move together; default `layers`.

    Returns
    -------
    dict of str to ndarray of shape (m,)

    References
    ----------
    .. [1] Adilova et al. 2023, arXiv:2307.06966.
    """
    layout = networks.architecture.layout
    parts = layers(layout) if parts is None else parts
    m = len(first)
    options = {"samples": samples, "refreshed": refreshed, "seed": seed}
    whole = along_lines(networks, first, last, groups, points=2, splits=(split,), **options)  # type: ignore[arg-type]
    level = whole.loss[split].mean(1)
    found = {}
    for name, tensors in parts.items():
        moved = np.zeros(layout.d, bool)
        for tensor in tensors:
            moved[layout.slices[tensor]] = True
        starts = np.concatenate([first, last])
        stops = np.where(moved, np.concatenate([last, first]), starts)
        lines = along_lines(
            networks, starts, stops, [*groups, *groups], points=points,
            splits=(split,), **options,  # type: ignore[arg-type]
        )  # fmt: skip
        heights = barrier_height(lines.loss[split], np.concatenate([level, level]))
        found[name] = heights.reshape(2, m).mean(0)
    return found


def _outputs(networks: Networks) -> int:
    """Logits of a sample: rows of the last matrix, for each of its labels."""
    layout, labels = networks.architecture.layout, networks.data.y["train"]
    rows = next((p.shape[0] for p in reversed(layout.params) if len(p.shape) > 1), 1)
    return rows * math.prod(labels.shape[1:])
