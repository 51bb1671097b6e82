"""Gradient noise scale, the batch size at which noise and gradient are equally large.

References
----------
.. [1] McCandlish et al., 2018, An empirical model of large-batch training,
   arXiv:1812.06162, section 2.2 and appendix A.1. Differences: one fixed set of
   disjoint batches and a jackknife error instead of an average over training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from catalog.dtypes import Array
from catalog.plugins.ranges import Setting
from catalog.schema import Column
from catalog.storage.splits import SPLITS
from zoo.landscape.groups import groups
from zoo.metric import Metric, check_least
from zoo.networks import Networks, Progress, Samples
from zoo.objective import Batch
from zoo.randomness import stream

GROUP_BYTES = 256 << 20
"""Largest size in bytes of a group's batch gradients and activations. If the gradients of a
single network are larger, they are computed twice instead of kept."""

FEW = 5
"""Gradients in memory besides the kept ones: one, its parts, the sum and products."""

FEWEST = 3
"""Fewest batches: the jackknife leaves one out, and a variance needs two."""


@dataclass(frozen=True)
class GradientNoise(Metric):
    """Simple noise scale tr(Sigma) / |G|^2 [1]_ of the loss in evaluation.

    The squared norm of the gradient and the trace of the covariance of single samples'
    gradients are estimated from the gradients of k disjoint batches of b samples and of
    all k b samples. Both estimates are unbiased if the samples were drawn independently;
    G is the gradient over the distribution that they were drawn from. The ratio of the
    estimates is not unbiased. It is negative if the estimate of the squared norm is
    negative, which means that noise hides the gradient. Networks with non-finite gradients
    have NaN, and so have networks of runs with fewer than three batches of samples.

    Parameters
    ----------
    batch_size : int, default=32
        Number b of samples per batch.
    batches : int, default=32
        Largest number k of batches, at least 3; a run with fewer samples has fewer.
    split : str, default="train"
        Split of the samples.

    References
    ----------
    .. [1] McCandlish et al., 2018, arXiv:1812.06162.
    """

    batch_size: int = 32
    batches: int = 32
    split: str = "train"

    name = "gradient_noise"
    summary = "simple noise scale of the gradient: a critical batch size"
    columns = (
        Column(
            "gradient_noise_scale",
            pa.float64(),
            "samples",
            "gradient_variance / gradient_norm_sq",
        ),
        Column(
            "gradient_noise_scale_se",
            pa.float64(),
            "samples",
            "standard error: jackknife over batches",
        ),
        Column(
            "gradient_norm_sq",
            pa.float64(),
            "nats^2",
            "squared norm of the gradient, unbiased; may be negative",
        ),
        Column(
            "gradient_variance",
            pa.float64(),
            "nats^2",
            "trace of the covariance of one sample's gradient, unbiased",
        ),
    )

    def __post_init__(self) -> None:
        check_least(self, batch_size=1, batches=FEWEST)
        Setting.of(self, "split").one_of(SPLITS)

    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Return values (n,) by column."""
        n, p = len(networks), networks.weights.shape[1]
        out = self.blank(n)
        inputs = int(np.prod(networks.data.task.shape))
        kept = self.batches if 4 * p * self.batches <= GROUP_BYTES else 0
        sample_groups = groups(
            networks,
            self.split,
            self.batch_size * self.batches,
            GROUP_BYTES,
            4
            * (p * (kept + FEW) + 8 * self.batch_size * networks.architecture.activations),
            4 * inputs,
        )
        done = 0
        for count, rows in sample_groups:
            if count // self.batch_size >= FEWEST:
                group_values = self._group(networks.take(rows), count, seed, keep=kept > 0)
                for name, values in group_values.items():
                    out[name][rows] = values
            done += len(rows)
            progress(done / n)
        return out

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: one gradient per sample.

        The cost is two gradients per sample if they are not kept, which is not known here.
        """
        return float(networks * min(self.batch_size * self.batches, train_samples))

    def _group(
        self, networks: Networks, count: int, seed: int, *, keep: bool
    ) -> dict[str, Array]:
        """Return the values of networks with ``count`` samples each, by column."""
        samples = networks.samples(self.split, count, seed)
        order = stream(seed, "gradient noise").permutation(count)
        k = count // self.batch_size
        order = order[: k * self.batch_size].reshape(k, self.batch_size)
        single, along = _products(lambda: _gradients(networks, samples, order), keep)
        total = along.sum(1)
        b = self.batch_size
        norm, variance = _unbiased(single.mean(1), total / k**2, b, k)
        rest_norms = total[:, None] - 2 * along + single
        rest_singles = (single.sum(1)[:, None] - single) / (k - 1)
        jackknife = _unbiased(rest_singles, rest_norms / (k - 1) ** 2, b, k - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale, scales = variance / norm, jackknife[1] / jackknife[0]
            spread = ((scales - scales.mean(1, keepdims=True)) ** 2).sum(1)
        return {
            "gradient_noise_scale": scale,
            "gradient_noise_scale_se": np.sqrt(spread * (k - 1) / k),
            "gradient_norm_sq": norm,
            "gradient_variance": variance,
        }


def _products(gradients: Callable[[], Iterable[Tensor]], keep: bool) -> tuple[Array, Array]:
    """Return squared norms (n, k) of k batch gradients, and products with their sum.

    The estimates need no more: the squared norm of the sum is the sum of the products, and
    the squared norm of the sum without one batch follows from both results.

    Parameters
    ----------
    gradients : callable
        Function that yields the k gradients (n, p), the same at every call.
    keep : bool
        Whether to keep all gradients instead of calling ``gradients`` twice.
    """
    kept = list(gradients()) if keep else None
    total, single = torch.empty(0), []
    for gradient in gradients() if kept is None else kept:
        single.append(gradient.square().sum(1, dtype=torch.float64))
        total = total.add_(gradient) if len(total) else gradient.clone()
    along = [
        (gradient * total).sum(1, dtype=torch.float64)
        for gradient in (gradients() if kept is None else kept)
    ]
    first, second = (torch.stack(products, 1).cpu().numpy() for products in (single, along))
    return first, second


def _gradients(networks: Networks, samples: Samples, order: Array) -> Iterator[Tensor]:
    """Yield the gradients (n, p) of each batch, whose samples are a row of ``order``."""
    n, weights = len(networks), networks.stacked()
    all_samples = next(samples.batches())
    x = all_samples.x[:1] if samples.shared else all_samples.x
    for rows in torch.from_numpy(order).to(networks.device):
        inputs = x[:, rows]
        batch = Batch(
            inputs.expand(n, *inputs.shape[1:]),
            all_samples.y[:, rows],
            all_samples.constants,
        )
        losses = networks.objective.loss(networks.architecture, weights.tensors, batch)
        grads = torch.autograd.grad(
            losses, weights.trainable, torch.ones_like(losses), materialize_grads=True
        )
        yield torch.cat([g.reshape(n, -1) for g in grads], 1)


def _unbiased(small: Array, large: Array, b: int, k: int) -> tuple[Array, Array]:
    """Estimate squared norm and variance from squared norms over b and k b samples."""
    norm = (k * large - small) / (k - 1)
    variance = (small - large) * b * k / (k - 1)
    return norm, variance


gradient_noise = GradientNoise()
