"""Gradient noise scale: the batch size at which noise and gradient are equally large.

References
----------
.. [1] McCandlish et al., 2018, An empirical model of large-batch training,
   arXiv:1812.06162, section 2.2 and appendix A.1. Differs: one fixed set of disjoint
   batches and a jackknife error where they average over training.
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
"""Bytes of a group's batch gradients and activations. Where the batch gradients of one
network alone are more, they are computed twice instead of kept."""

FEW = 5
"""Gradients in memory beside those that are kept: one, its parts, the sum, products."""

FEWEST = 3
"""Batches: the jackknife leaves one out, and two are left to differ."""


@dataclass(frozen=True)
class GradientNoise(Metric):
    """Simple noise scale tr(Sigma) / |G|^2 [1]_ of the loss in evaluation.

    From the gradients of k disjoint batches of b samples and of all k b samples come
    estimates of the gradient's squared norm and of the trace of the covariance of
    single samples' gradients. Both are unbiased if the samples were drawn independently:
    G is the gradient over what they were drawn from. Their ratio is not unbiased; it is
    negative where the squared norm is estimated as negative, which says that noise hides
    the gradient. A network with non-finite gradients has NaN, and so has one whose run
    sees fewer than three batches of samples.

    Parameters
    ----------
    batch_size : int, default=32
        Samples b of a batch.
    batches : int, default=32
        Most batches k, at least 3; a run that sees fewer samples has fewer.
    split : str, default="train"
        Where they are from.

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
        Column("gradient_noise_scale_se", pa.float64(), "samples", "jackknife, batches"),
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
        """Values (n,) by column."""
        n, p = len(networks), networks.weights.shape[1]
        out = self.blank(n)
        inputs = int(np.prod(networks.data.task.shape))
        kept = self.batches if 4 * p * self.batches <= GROUP_BYTES else 0
        parts = groups(
            networks,
            self.split,
            self.batch_size * self.batches,
            GROUP_BYTES,
            4
            * (p * (kept + FEW) + 8 * self.batch_size * networks.architecture.activations),
            4 * inputs,
        )
        done = 0
        for count, rows in parts:
            if count // self.batch_size >= FEWEST:
                found = self._group(networks.take(rows), count, seed, keep=kept > 0)
                for name, values in found.items():
                    out[name][rows] = values
            done += len(rows)
            progress(done / n)
        return out

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """One gradient per sample; two, not known here, where they are not kept."""
        return float(networks * min(self.batch_size * self.batches, train_samples))

    def _group(
        self, networks: Networks, count: int, seed: int, *, keep: bool
    ) -> dict[str, Array]:
        samples = networks.samples(self.split, count, seed)
        order = stream(seed, "gradient noise").permutation(count)
        k = count // self.batch_size
        order = order[: k * self.batch_size].reshape(k, self.batch_size)
        single, along = _products(lambda: _gradients(networks, samples, order), keep)
        total = along.sum(1)
        b = self.batch_size
        norm, variance = _unbiased(single.mean(1), total / k**2, b, k)
        without = total[:, None] - 2 * along + single
        others = (single.sum(1)[:, None] - single) / (k - 1)
        left = _unbiased(others, without / (k - 1) ** 2, b, k - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale, scales = variance / norm, left[1] / left[0]
            spread = ((scales - scales.mean(1, keepdims=True)) ** 2).sum(1)
        return {
            "gradient_noise_scale": scale,
            "gradient_noise_scale_se": np.sqrt(spread * (k - 1) / k),
            "gradient_norm_sq": norm,
            "gradient_variance": variance,
        }


def _products(gradients: Callable[[], Iterable[Tensor]], keep: bool) -> tuple[Array, Array]:
    """Squared norms (n, k) of k batch gradients, and their products with their sum.

    They are all that the estimates need: the squared norm of the sum is the sum of the
    products, and that of the sum without one batch follows.

    Parameters
    ----------
    gradients : callable
        Gives the k gradients (n, p), one after the other and the same every time.
    keep : bool
        Whether to keep them all, or to ask for them twice.
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
    first, second = (torch.stack(each, 1).cpu().numpy() for each in (single, along))
    return first, second


def _gradients(networks: Networks, samples: Samples, order: Array) -> Iterator[Tensor]:
    """Gradients (n, p) of each batch; its samples are a row of ``order``."""
    n, weights = len(networks), networks.stacked()
    whole = next(samples.batches())
    x = whole.x[:1] if samples.shared else whole.x
    for rows in torch.from_numpy(order).to(networks.device):
        inputs = x[:, rows]
        batch = Batch(
            inputs.expand(n, *inputs.shape[1:]), whole.y[:, rows], whole.constants
        )
        losses = networks.objective.loss(networks.architecture, weights.tensors, batch)
        grads = torch.autograd.grad(
            losses, weights.trainable, torch.ones_like(losses), materialize_grads=True
        )
        yield torch.cat([g.reshape(n, -1) for g in grads], 1)


def _unbiased(small: Array, large: Array, b: int, k: int) -> tuple[Array, Array]:
    """Squared norm and variance from squared norms over b and over k b samples."""
    norm = (k * large - small) / (k - 1)
    variance = (small - large) * b * k / (k - 1)
    return norm, variance


gradient_noise = GradientNoise()
