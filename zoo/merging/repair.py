"""REPAIR: correction of the variance that averaged networks lose [1]_.

The features of an averaged network vary less than those of its parents. Every affine map
of the average gets an additional scale and shift per unit, such that the mean and the
standard deviation of its output on training inputs equal the averages over its parents.
Scale and shift are then fused into the weights and biases of the map.

References
----------
.. [1] Jordan et al. 2022, arXiv:2211.08403. Difference: layers are corrected in one
   pass, each after the corrected layers before it, as resetting batch normalisation
   does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from catalog.dtypes import Array
from zoo.architecture import Architecture, Editable
from zoo.merging.made_weights import Group, refresh_weights, stacks_with_inputs
from zoo.networks import Networks

Statistics = dict[str, tuple[Array, ...]]
"""Mean and standard deviation (k, units) of outputs on training inputs, by affine map."""

EPSILON = 1e-5
"""Added to variances, as in batch normalisation, so that dead units stay dead."""


def repairable(architecture: Architecture) -> bool:
    """Return whether `repair` changes networks of an architecture.

    Networks with batch normalisation are repaired by new estimates of its statistics.
    Networks with only layer normalisation are not changed.
    """
    buffers = any(param.role == "buffer" for param in architecture.layout)
    return buffers or isinstance(architecture, Editable)


def repair(
    networks: Networks,
    weights: Array,
    groups: Sequence[Group],
    parents: Sequence[Array],
    *,
    samples: int = 1024,
    seed: int = 0,
) -> Array:
    """Give averages the feature statistics of their parents.

    Parameters
    ----------
    networks : Networks
        Networks that the averages were made from.
    weights : ndarray of shape (k, d)
        Averages.
    groups : sequence of k rows
        Rows of the networks that each average was made from, whose inputs are used.
    parents : sequence of k ndarray of shape (m, d)
        Weights of these networks with their units in the order of the average.
    samples : int, default=1024
        Largest number of training inputs.
    seed : int, default=0
        Seed of the random sample of inputs.

    Returns
    -------
    ndarray of shape (k, d)
        Repaired averages; see `repairable` for networks that are not changed.
    """
    architecture = networks.architecture
    if not isinstance(architecture, Editable):
        return refresh_weights(networks, weights, groups, samples=samples, seed=seed)
    goals = unit_statistics(networks, groups, parents, samples=samples, seed=seed)
    return with_statistics(networks, weights, groups, goals, samples=samples, seed=seed)


def with_statistics(
    networks: Networks,
    weights: Array,
    groups: Sequence[Group],
    goals: Statistics,
    *,
    samples: int = 1024,
    seed: int = 0,
) -> Array:
    """Give the affine maps of networks the statistics ``goals``, see `repair`.

    Parameters
    ----------
    networks, weights, groups, samples, seed
        As in `repair`.
    goals : Statistics
        Statistics to reach: one row for each network, or one row for all.

    Returns
    -------
    ndarray of shape (k, d)
        Weights whose maps have the statistics.
    """
    architecture = networks.architecture
    assert isinstance(architecture, Editable)
    goals = {
        name: tuple(np.broadcast_to(v, (len(weights), v.shape[1])) for v in pair)
        for name, pair in goals.items()
    }
    out = np.array(weights, np.float32)
    bytes_per_network = 4 * architecture.activations * samples
    with torch.no_grad():
        for rows, stack, inputs in stacks_with_inputs(
            networks, weights, groups, samples, seed, samples, bytes_per_network
        ):
            stack_goals = {
                name: tuple(
                    torch.from_numpy(v[rows].copy()).to(networks.device) for v in pair
                )
                for name, pair in goals.items()
            }

            def corrected(
                name: str,
                x: Tensor,
                stack_goals: dict[str, tuple[Tensor, ...]] = stack_goals,
                tensors: dict[str, Tensor] = stack.tensors,
            ) -> Tensor:
                mean, deviation = stack_goals[name]
                current_mean, current_deviation = _moments(x)
                scale = deviation / current_deviation
                shift = mean - scale * current_mean
                weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
                weight.mul_(scale.view(*scale.shape, *[1] * (weight.dim() - 2)))
                bias.mul_(scale).add_(shift)
                broadcast = (scale.shape[0], 1, scale.shape[1], *[1] * (x.dim() - 3))
                return x * scale.view(broadcast) + shift.view(broadcast)

            (x,) = inputs.batches()
            architecture.forward(stack.tensors, x, edit=corrected)
            out[rows] = stack.matrix()
    return out


def unit_statistics(
    networks: Networks,
    groups: Sequence[Group],
    parents: Sequence[Array],
    *,
    samples: int = 1024,
    seed: int = 0,
) -> Statistics:
    """Return the mean statistics of the parents of each of k groups; see `repair`."""
    architecture = networks.architecture
    assert isinstance(architecture, Editable)
    counts = [len(weights) for weights in parents]
    flat = np.concatenate(list(parents))
    parent_groups = [groups[g] for g, count in enumerate(counts) for _ in range(count)]
    statistics: dict[str, list[Array]] = {}
    bytes_per_network = 4 * architecture.activations * samples
    with torch.no_grad():
        for rows, stack, inputs in stacks_with_inputs(
            networks, flat, parent_groups, samples, seed, samples, bytes_per_network
        ):

            def record(name: str, x: Tensor, rows: Array = rows) -> Tensor:
                moments = torch.stack(_moments(x)).cpu().numpy()
                if name not in statistics:
                    statistics[name] = [
                        np.empty((len(flat), moments.shape[2])) for _ in "ms"
                    ]
                for stored, values in zip(statistics[name], moments, strict=True):
                    stored[rows] = values
                return x

            (x,) = inputs.batches()
            architecture.forward(stack.tensors, x, edit=record)
    starts = np.cumsum([0, *counts[:-1]])
    share = np.array(counts)[:, None]
    return {
        name: tuple(
            (np.add.reduceat(values, starts) / share).astype(np.float32) for values in pair
        )
        for name, pair in statistics.items()
    }


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (n, units) over samples and positions."""
    over = (1, *range(3, x.dim()))
    variance, mean = torch.var_mean(x, over, correction=0)
    return mean, (variance + EPSILON).sqrt()
