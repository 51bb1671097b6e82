"""REPAIR: what averaged networks lose in variance is given back [1]_.

Where networks are averaged, the features of the mean vary less than theirs. Every affine
map of the average gets one more scale and shift per unit, such that mean and deviation of
what it gives on training inputs are the means of those of its parents; both are then
fused into its weights and biases.

References
----------
.. [1] Jordan et al. 2022, arXiv:2211.08403. Differs: layers are corrected in one pass, each
   behind the corrected ones before it, as resetting batch normalisation does.
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
"""By affine map: mean and deviation (k, units) of what it gives on training inputs."""

EPSILON = 1e-5
"""Added to variances, as batch normalisation does: dead units stay dead."""


def repairable(architecture: Architecture) -> bool:
    """Whether `repair` does anything for a family.

    Networks with batch normalisation are repaired by estimating its statistics anew; those
    with layer normalisation alone are left as they are.
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
    """Averages with the statistics of their parents.

    Parameters
    ----------
    networks : Networks
        What the averages were made from.
    weights : ndarray of shape (k, d)
        Averages.
    groups : sequence of k rows
        Networks that each was made from: its inputs are theirs.
    parents : sequence of k ndarray of shape (m, d)
        The weights of these networks with their units in the order of the average.
    samples : int, default=1024
        Training inputs, at most.

    Returns
    -------
    ndarray of shape (k, d)
        See `repairable`.
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
    """Networks whose affine maps get given statistics, see `repair`.

    Parameters
    ----------
    goals : Statistics
        One row for each network, or one row for all.
    """
    architecture = networks.architecture
    assert isinstance(architecture, Editable)
    goals = {
        name: tuple(np.broadcast_to(v, (len(weights), v.shape[1])) for v in pair)
        for name, pair in goals.items()
    }
    out = np.array(weights, np.float32)
    each = 4 * architecture.activations * samples
    with torch.no_grad():
        for rows, stack, inputs in stacks_with_inputs(
            networks, weights, groups, samples, seed, samples, each
        ):
            aim = {
                name: tuple(
                    torch.from_numpy(v[rows].copy()).to(networks.device) for v in pair
                )
                for name, pair in goals.items()
            }

            def corrected(
                name: str,
                x: Tensor,
                aim: dict[str, tuple[Tensor, ...]] = aim,
                tensors: dict[str, Tensor] = stack.tensors,
            ) -> Tensor:
                mean, deviation = aim[name]
                own_mean, own_deviation = _moments(x)
                scale = deviation / own_deviation
                shift = mean - scale * own_mean
                weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
                weight.mul_(scale.view(*scale.shape, *[1] * (weight.dim() - 2)))
                bias.mul_(scale).add_(shift)
                wide = (scale.shape[0], 1, scale.shape[1], *[1] * (x.dim() - 3))
                return x * scale.view(wide) + shift.view(wide)

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
    """What parents give on average, for each of k groups; see `repair`."""
    architecture = networks.architecture
    assert isinstance(architecture, Editable)
    counts = [len(own) for own in parents]
    flat = np.concatenate(list(parents))
    of = [groups[g] for g, count in enumerate(counts) for _ in range(count)]
    found: dict[str, list[Array]] = {}
    each = 4 * architecture.activations * samples
    with torch.no_grad():
        for rows, stack, inputs in stacks_with_inputs(
            networks, flat, of, samples, seed, samples, each
        ):

            def seen(name: str, x: Tensor, rows: Array = rows) -> Tensor:
                moments = torch.stack(_moments(x)).cpu().numpy()
                if name not in found:
                    found[name] = [np.empty((len(flat), moments.shape[2])) for _ in "ms"]
                for kept, values in zip(found[name], moments, strict=True):
                    kept[rows] = values
                return x

            (x,) = inputs.batches()
            architecture.forward(stack.tensors, x, edit=seen)
    starts = np.cumsum([0, *counts[:-1]])
    share = np.array(counts)[:, None]
    return {
        name: tuple(
            (np.add.reduceat(values, starts) / share).astype(np.float32) for values in pair
        )
        for name, pair in found.items()
    }


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (n, units) over samples and positions."""
    over = (1, *range(3, x.dim()))
    variance, mean = torch.var_mean(x, over, correction=0)
    return mean, (variance + EPSILON).sqrt()
