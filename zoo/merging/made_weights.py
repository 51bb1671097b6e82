"""Weights made from those of networks: averages, points of a line, pruned ones.

They are judged as the networks that they were made from: on what those see, in stacks
that fit the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.dtypes import Array
from zoo.engine.evaluate import Evaluation
from zoo.engine.refresh import refresh
from zoo.engine.stack_weights import StackWeights, parameter_columns
from zoo.merging.joint_view import Inputs, joint_views, subsample
from zoo.networks import Networks
from zoo.samples import View

STACK_BYTES = 256 << 20
"""What a stack of such networks may take, beside its activations."""

REFRESH_BATCH = 128
"""Inputs of a batch from which statistics of batch normalisation are estimated. Fixed: the
size decides the estimate, and must not depend on how many networks are measured."""

Group = Sequence[int] | Array
"""Rows of the networks that something was made from."""


@dataclass(frozen=True)
class SampleErrors:
    """Losses and errors of n networks on every sample of one split.

    Attributes
    ----------
    losses, errors : ndarray of shape (n, samples)
        Error: whether the label is wrong, or the relative error.
    counted : ndarray of shape (n, samples)
        Which of the samples each network has.
    """

    losses: Array
    errors: Array
    counted: Array

    @property
    def loss(self) -> Array:
        """Mean loss (n,); NaN of networks that are not finite."""
        return self._mean(self.losses)

    @property
    def error(self) -> Array:
        """Mean error (n,)."""
        return self._mean(self.errors)

    @staticmethod
    def concat(parts: Sequence[SampleErrors]) -> SampleErrors:
        """Networks of several one behind the other; what is narrower has lost samples."""
        wide = max(part.errors.shape[1] for part in parts)

        def stacked(name: str) -> Array:
            own = [getattr(part, name) for part in parts]
            return np.concatenate(
                [np.pad(v, ((0, 0), (0, wide - v.shape[1]))) for v in own]
            )

        return SampleErrors(stacked("losses"), stacked("errors"), stacked("counted"))

    def take(self, rows: Sequence[int] | Array) -> SampleErrors:
        """Some of the networks, in that order."""
        index = np.asarray(rows, np.int64)
        return SampleErrors(self.losses[index], self.errors[index], self.counted[index])

    def gain(
        self, before: Sequence[Group] | Array, rows: Sequence[int] | Array
    ) -> GainValues:
        """By how much the error of some rows is lower than the mean of others.

        Parameters
        ----------
        before : sequence of rows
            For each row its comparison, on the same samples.
        rows : sequence of int
        """
        values, errors = np.full((2, len(rows)), np.nan)
        for k, (group, row) in enumerate(zip(before, rows, strict=True)):
            group = np.asarray(group, np.int64)
            own = self.counted[row] & self.counted[group].all(0)
            less = self.errors[group][:, own].mean(0) - self.errors[row, own]
            values[k] = less.mean() if len(less) else np.nan
            if len(less) > 1:
                errors[k] = less.std(ddof=1) / np.sqrt(len(less))
        return GainValues(values, errors)

    def _mean(self, values: Array) -> Array:
        total = np.where(self.counted, values, 0.0).sum(1, dtype=np.float64)
        count = self.counted.sum(1)
        out = np.full(len(values), np.nan)
        return np.divide(total, count, out=out, where=count > 0)


@dataclass(frozen=True)
class GainValues:
    """Differences of errors (k,) and their standard errors over samples."""

    values: Array
    errors: Array


def stacked_rows(count: int, each: int, most: int | None = None) -> Iterator[slice]:
    """Rows of networks in parts that fit, of ``each`` bytes, and ``most`` of them."""
    size = max(1, STACK_BYTES // max(each, 1))
    size = size if most is None else min(size, most)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def judge_weights(
    networks: Networks,
    weights: Array,
    groups: Sequence[Group],
    splits: Sequence[str],
    *,
    samples: int | None = None,
    seed: int = 0,
) -> dict[str, SampleErrors]:
    """Judge networks on whole splits.

    Parameters
    ----------
    networks : Networks
        What the weights were made from.
    weights : ndarray of shape (k, d)
    groups : sequence of rows
        Which networks each was made from: it is judged on what these see together.
    samples : int, optional
        At most so many of each split, a fixed random sample.

    Returns
    -------
    dict of str to Judged
        By split.
    """
    layout, found = networks.architecture.layout, {}
    for split in splits:
        views = joint_views(networks, groups, split)
        if samples is not None:
            cut = {id(v): subsample(v, samples, f"judged on {split}", seed) for v in views}
            views = [cut[id(v)] for v in views]
        length = max((len(v.index) for v in views), default=0)
        shape = (len(weights), length)
        losses, errors = np.full((2, *shape), np.nan, np.float32)
        counted = np.zeros(shape, bool)
        for part in stacked_rows(len(weights), 12 * layout.d + 40 * length):
            runs = [networks.runs[int(group[0])] for group in groups[part]]
            own = Evaluation(networks.data, split, runs, views[part], networks.device)
            stack = StackWeights(layout, weights[part], networks.device)
            loss, value = own.each(networks.architecture, stack.tensors)
            wide = loss.shape[1]
            losses[part, :wide] = loss.cpu().numpy()
            judged = value.cpu().numpy()
            accurate = networks.objective.judges == "accuracy"
            errors[part, :wide] = 1 - judged if accurate else judged
            counted[part, :wide] = own.counted.cpu().numpy()
        found[split] = SampleErrors(losses, errors, counted)
    return found


def refresh_weights(
    networks: Networks,
    weights: Array,
    groups: Sequence[Group],
    *,
    samples: int = 2048,
    seed: int = 0,
) -> Array:
    """Weights whose statistics of batch normalisation are estimated anew.

    On training inputs of the networks that they were made from. Without buffers they are
    returned as they are.

    Parameters
    ----------
    samples : int, default=2048
        At most.

    Returns
    -------
    ndarray of shape (k, d)
    """
    layout = networks.architecture.layout
    if parameter_columns(layout).all() or not len(weights):
        return weights
    out = np.empty_like(weights)
    for rows, stack, inputs in stacks_with_inputs(networks, weights, groups, samples, seed):
        refresh(networks.architecture, stack, inputs.batches())
        out[rows] = stack.matrix()
    return out


def stacks_with_inputs(
    networks: Networks,
    weights: Array,
    groups: Sequence[Group],
    samples: int,
    seed: int,
    batch: int = REFRESH_BATCH,
    each: int = 0,
) -> Iterator[tuple[Array, StackWeights, Inputs]]:
    """Stacks of networks with training inputs of those that they were made from.

    Networks whose parents see fewer samples form stacks of their own, so that they decide
    nothing for the others.

    Parameters
    ----------
    each : int
        Bytes of a network beside its weights.

    Yields
    ------
    rows : ndarray of int
    stack : StackWeights
    inputs : Inputs
    """
    views = joint_views(networks, groups, "train")
    cut: dict[int, View] = {
        id(v): subsample(v, samples, "statistics of training inputs", seed) for v in views
    }
    lengths = np.array([len(cut[id(v)].index) for v in views])
    layout = networks.architecture.layout
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        for part in stacked_rows(len(rows), 16 * layout.d + each):
            some = rows[part]
            runs = [networks.runs[int(groups[i][0])] for i in some]
            own = [cut[id(views[i])] for i in some]
            stack = StackWeights(layout, weights[some], networks.device)
            yield some, stack, Inputs(networks, runs, own, batch)
