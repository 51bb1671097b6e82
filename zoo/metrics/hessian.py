"""Largest and smallest eigenvalue and trace of the Hessian of the loss.

Eigenvalues are computed by Lanczos iteration over stacks (`zoo.landscape.lanczos`), the
trace is estimated by random probes.

References
----------
.. [1] Yao et al., 2020, PyHessian, arXiv:1912.07145. Differences: Lanczos instead of
   the power method, so that convergence is known and the smallest eigenvalue is found
   too; a fixed number of probes and a standard error, where PyHessian stops when the
   running mean no longer changes; the same samples for every network.
.. [2] Meyer et al., 2021, Hutch++, arXiv:2010.09649. In their method the trace is exact
   within a space that contains the largest eigenvalues, and probes estimate only the
   rest. Here this space is the Krylov space of the eigenvalues, which has no extra cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from catalog.dtypes import Array
from catalog.plugins.ranges import Setting
from catalog.schema import Column
from catalog.storage.splits import SPLITS
from zoo.landscape.curvature import GRAPH_BYTES, Curvature, graph_bytes
from zoo.landscape.groups import groups
from zoo.landscape.lanczos import Product, deflated, lanczos
from zoo.metric import Metric, check_least
from zoo.networks import Networks, Progress
from zoo.randomness import stream

CACHED_BYTES = 32 << 20
"""Bytes of the graph of a group that is fastest on a CPU; larger stacks gain nothing."""

RECORD_FROM = 8
"""Fewest probes that are worth a recording."""

RECORD_BELOW = 16_000_000
"""Largest number of parameters times samples of a group that is recorded. Above, arithmetic
outweighs the overhead that a recording saves. Measured: 12 digits MLPs of width 16 are
below this number, 32 above."""

TYPICAL = 9
"""Typical number of products of Lanczos, for the estimate of the cost."""


@dataclass(frozen=True)
class Hessian(Metric):
    """Curvature of the mean loss in evaluation, at fixed samples.

    A network whose weights or products are not finite has NaN in all columns.

    Parameters
    ----------
    samples : int, default=640
        Number of samples, as in [1]_; a run with fewer is measured on all its samples.
    split : str, default="train"
        Split of the samples.
    probes : int, default=16
        Number of random vectors for the trace, at least 2; all networks of one size share
        them.
    iterations : int, default=60
        Largest number of products for the eigenvalues.
    tolerance : float, default=1e-4
        Relative error of ``hessian_top_eig``, as `zoo.landscape.lanczos` estimates it.

    References
    ----------
    .. [1] Yao et al., 2020, arXiv:1912.07145.
    """

    samples: int = 640
    split: str = "train"
    probes: int = 16
    iterations: int = 60
    tolerance: float = 1e-4

    name = "hessian"
    version = 3
    summary = "largest and smallest eigenvalue and trace of the Hessian"
    columns = (
        Column(
            "hessian_top_eig",
            pa.float64(),
            "nats",
            "eigenvalue of largest magnitude, with its sign",
        ),
        Column(
            "hessian_top_eig_residual",
            pa.float64(),
            "nats",
            "an eigenvalue is within this distance of hessian_top_eig",
        ),
        Column(
            "hessian_top_eig_converged",
            pa.bool_(),
            "-",
            "whether the error is within the tolerance, and no eigenvalue of the other "
            "sign can be larger",
        ),
        Column(
            "hessian_min_eig",
            pa.float64(),
            "nats",
            "smallest Ritz value: not below the smallest eigenvalue",
        ),
        Column(
            "hessian_min_eig_residual",
            pa.float64(),
            "nats",
            "an eigenvalue is within this distance of hessian_min_eig",
        ),
        Column("hessian_trace", pa.float64(), "nats", "trace, unbiased; may be negative"),
        Column(
            "hessian_trace_se",
            pa.float64(),
            "nats",
            "standard error of the trace over probes",
        ),
    )

    def __post_init__(self) -> None:
        check_least(self, samples=1, probes=2, iterations=1)
        Setting.of(self, "split").one_of(SPLITS)
        Setting.of(self, "tolerance").number(0, 1, ends="()")

    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Return values (n,) by column."""
        n = len(networks)
        out = self.blank(n)
        out["hessian_top_eig_converged"] = np.zeros(n, bool)
        memory = CACHED_BYTES if networks.device.type == "cpu" else GRAPH_BYTES
        per_sample, done = graph_bytes(networks), 0
        for count, rows in groups(
            networks, self.split, self.samples, memory, 0, per_sample
        ):
            group_values = self._group(networks.take(rows), count, seed)
            for name, values in group_values.items():
                out[name][rows] = values
            done += len(rows)
            progress(done / n)
        return out

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: each product is about two gradients."""
        products = TYPICAL + self.probes
        return 2.0 * networks * min(self.samples, train_samples) * products

    def _group(self, networks: Networks, count: int, seed: int) -> dict[str, Array]:
        """Return the values of networks with ``count`` samples each, by column."""
        samples = networks.samples(self.split, count, seed)
        curvature = Curvature(networks, samples)
        n, p = curvature.shape
        if self.probes >= RECORD_FROM and n * p * count <= RECORD_BELOW:
            curvature.record()

        def narrow(rows: Array) -> Product:
            active = networks.take(rows)
            return Curvature(active, active.samples(self.split, count, seed)).product

        # A random start: from the gradient, 2% of the networks got a lower eigenvalue.
        vector = stream(seed, "hessian start").standard_normal(p, np.float32)
        start = torch.from_numpy(vector).to(networks.device).expand(n, p)
        extremes = lanczos(
            curvature.product, start, self.iterations, self.tolerance, narrow=narrow
        )
        signs = stream(seed, "hessian probes").integers(0, 2, (self.probes, p), np.int8)
        probes = torch.from_numpy(2.0 * signs - 1).float().to(networks.device)
        basis = extremes.basis[:, : max(1, int(extremes.products.max()))]
        rest_traces = np.empty((self.probes, n))
        for k in range(self.probes):
            probe = deflated(basis, probes[k].expand(n, p))
            projections = (probe * curvature.product(probe)).sum(1)
            rest_traces[k] = projections.double().cpu().numpy()
        non_finite = ~np.isfinite(extremes.top) | ~np.isfinite(rest_traces).all(0)
        out = {
            "hessian_top_eig": extremes.top,
            "hessian_top_eig_residual": extremes.top_residual,
            "hessian_min_eig": extremes.bottom,
            "hessian_min_eig_residual": extremes.bottom_residual,
            "hessian_trace": extremes.trace + rest_traces.mean(0),
            "hessian_trace_se": rest_traces.std(0, ddof=1) / np.sqrt(self.probes),
        }
        out = {name: np.where(non_finite, np.nan, values) for name, values in out.items()}
        out["hessian_top_eig_converged"] = extremes.converged & ~non_finite
        return out


hessian = Hessian()
