"""Evaluation of weights made from networks: averages, points of a line, pruned weights.

Such weights are evaluated on the samples of the networks that they were made from, in
stacks that fit the memory.
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
"""Largest size of such a stack in bytes, without its activations."""

REFRESH_BATCH = 128
"""Number of inputs per batch when statistics of batch normalisation are estimated. The
number is fixed because the estimate depends on the batch size, but must not depend on the
number of networks that are measured."""

Group = Sequence[int] | Array
"""Rows of the networks that derived weights were made from."""


@dataclass(frozen=True)
class SampleErrors:
    """Losses and errors of n networks on every sample of one split.

    Attributes
    ----------
    losses, errors : ndarray of shape (n, samples)
        Loss and error of every sample. The error is 1 for a wrong label and 0 for a right
        one, or the relative error.
    counted : ndarray of shape (n, samples)
        Mask of the samples that each network has.
    """

    losses: Array
    errors: Array
    counted: Array

    @property
    def loss(self) -> Array:
        """Mean loss (n,); NaN for networks whose loss is not finite."""
        return self._mean(self.losses)

    @property
    def error(self) -> Array:
        """Mean error (n,)."""
        return self._mean(self.errors)

    @staticmethod
    def concat(parts: Sequence[SampleErrors]) -> SampleErrors:
        """Concatenate the networks of several parts, padding samples at the end."""
        width = max(part.errors.shape[1] for part in parts)

        def stacked(name: str) -> Array:
            arrays = [getattr(part, name) for part in parts]
            return np.concatenate(
                [np.pad(v, ((0, 0), (0, width - v.shape[1]))) for v in arrays]
            )

        return SampleErrors(stacked("losses"), stacked("errors"), stacked("counted"))

    def take(self, rows: Sequence[int] | Array) -> SampleErrors:
        """Return some of the networks, in the order of ``rows``."""
        index = np.asarray(rows, np.int64)
        return SampleErrors(self.losses[index], self.errors[index], self.counted[index])

    def gain(
        self, before: Sequence[Group] | Array, rows: Sequence[int] | Array
    ) -> GainValues:
        """Return how much lower the error of some rows is than the mean of others.

        Parameters
        ----------
        before : sequence of rows
            Rows that each row is compared with, on the same samples.
        rows : sequence of int
            Rows whose gain is computed.

        Returns
        -------
        GainValues
            Gains, positive where the error is lower, and their standard errors.
        """
        values, errors = np.full((2, len(rows)), np.nan)
        for k, (group, row) in enumerate(zip(before, rows, strict=True)):
            group = np.asarray(group, np.int64)
            shared = self.counted[row] & self.counted[group].all(0)
            difference = self.errors[group][:, shared].mean(0) - self.errors[row, shared]
            values[k] = difference.mean() if len(difference) else np.nan
            if len(difference) > 1:
                errors[k] = difference.std(ddof=1) / np.sqrt(len(difference))
        return GainValues(values, errors)

    def _mean(self, values: Array) -> Array:
        """Average over the samples of each network; NaN without samples."""
        total = np.where(self.counted, values, 0.0).sum(1, dtype=np.float64)
        count = self.counted.sum(1)
        out = np.full(len(values), np.nan)
        return np.divide(total, count, out=out, where=count > 0)


@dataclass(frozen=True)
class GainValues:
    """Differences of errors (k,), and their standard errors over samples."""

    values: Array
    errors: Array


def stacked_rows(count: int, each: int, most: int | None = None) -> Iterator[slice]:
    """Yield slices of networks of ``each`` bytes that fit the memory, at most ``most``."""
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
    """Evaluate derived weights on whole splits or on a sample of each split.

    Parameters
    ----------
    networks : Networks
        Networks that the weights were made from.
    weights : ndarray of shape (k, d)
        Weights to evaluate.
    groups : sequence of rows
        Rows of the networks that each row of weights was made from. The weights are
        evaluated on the samples of these networks, see `joint_views`.
    splits : sequence of str
        Splits to evaluate on.
    samples : int, optional
        Largest number of samples of each split, drawn at random with the seed; by default
        all.
    seed : int, default=0
        Seed of the random sample.

    Returns
    -------
    dict of str to SampleErrors
        Losses and errors by split.
    """
    layout, result = networks.architecture.layout, {}
    for split in splits:
        views = joint_views(networks, groups, split)
        if samples is not None:
            sampled = {
                id(v): subsample(v, samples, f"judged on {split}", seed) for v in views
            }
            views = [sampled[id(v)] for v in views]
        length = max((len(v.index) for v in views), default=0)
        shape = (len(weights), length)
        losses, errors = np.full((2, *shape), np.nan, np.float32)
        counted = np.zeros(shape, bool)
        for part in stacked_rows(len(weights), 12 * layout.d + 40 * length):
            runs = [networks.runs[int(group[0])] for group in groups[part]]
            evaluation = Evaluation(
                networks.data, split, runs, views[part], networks.device
            )
            stack = StackWeights(layout, weights[part], networks.device)
            loss, value = evaluation.each(networks.architecture, stack.tensors)
            width = loss.shape[1]
            losses[part, :width] = loss.cpu().numpy()
            values = value.cpu().numpy()
            accurate = networks.objective.judges == "accuracy"
            errors[part, :width] = 1 - values if accurate else values
            counted[part, :width] = evaluation.counted.cpu().numpy()
        result[split] = SampleErrors(losses, errors, counted)
    return result


def judge_own(networks: Networks) -> dict[str, SampleErrors]:
    """Evaluate the weights of the networks themselves on validation and test samples."""
    rows = [[i] for i in range(len(networks))]
    return judge_weights(networks, networks.weights, rows, ["validation", "test"])


def refresh_weights(
    networks: Networks,
    weights: Array,
    groups: Sequence[Group],
    *,
    samples: int = 2048,
    seed: int = 0,
) -> Array:
    """Return weights with newly estimated statistics of batch normalisation.

    The statistics are estimated on training inputs of the networks that the weights were
    made from. Weights without buffers are returned as they are.

    Parameters
    ----------
    networks, weights, groups
        As in `judge_weights`.
    samples : int, default=2048
        Largest number of training inputs.
    seed : int, default=0
        Seed of the random sample of inputs.

    Returns
    -------
    ndarray of shape (k, d)
        Weights with new buffers.
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
    """Yield stacks of derived weights with training inputs of their parents.

    Networks whose parents have fewer samples form separate stacks, so that they do not
    limit the others.

    Parameters
    ----------
    networks, weights, groups
        As in `judge_weights`.
    samples : int
        Largest number of training inputs.
    seed : int
        Seed of the random sample of inputs.
    batch : int, default=REFRESH_BATCH
        Number of inputs per batch.
    each : int, default=0
        Bytes of a network besides its weights.

    Yields
    ------
    rows : ndarray of int
        Rows of the weights in the stack.
    stack : StackWeights
        Weights on the device.
    inputs : Inputs
        Training inputs in batches.
    """
    views = joint_views(networks, groups, "train")
    sampled: dict[int, View] = {
        id(v): subsample(v, samples, "statistics of training inputs", seed) for v in views
    }
    lengths = np.array([len(sampled[id(v)].index) for v in views])
    layout = networks.architecture.layout
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        for part in stacked_rows(len(rows), 16 * layout.d + each):
            stack_rows = rows[part]
            runs = [networks.runs[int(groups[i][0])] for i in stack_rows]
            stack_views = [sampled[id(views[i])] for i in stack_rows]
            stack = StackWeights(layout, weights[stack_rows], networks.device)
            yield stack_rows, stack, Inputs(networks, runs, stack_views, batch)
