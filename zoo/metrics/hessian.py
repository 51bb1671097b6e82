"""Largest and smallest eigenvalue and trace of the Hessian of the loss.

Eigenvalues come from Lanczos over stacks (`zoo.landscape.lanczos`), the trace from random
probes.

References
----------
.. [1] Yao et al., 2020, PyHessian, arXiv:1912.07145. Differs: Lanczos where they have
   the power method, so that convergence is known and the smallest eigenvalue comes
   with it; a fixed number of probes and a standard error where they stop when the
   running mean stands still; the same samples for every network.
.. [2] Meyer et al., 2021, Hutch++, arXiv:2010.09649. Their idea: the trace within a
   space that holds the largest eigenvalues is exact, and probes see the rest only. Here
   that is the Krylov space of the eigenvalues, which costs nothing more.
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
"""Graph of a group of networks that is fastest on a CPU; deeper stacks gain no more."""

RECORD_FROM = 8
"""Probes: fewer products are not worth the recording."""

RECORD_BELOW = 16_000_000
"""Parameters times samples of a group; above it arithmetic outweighs the overhead that
a recording saves. Measured: 12 digits MLPs of width 16 are below it, 32 above."""

TYPICAL = 9
"""Products that Lanczos takes, for the estimate of cost."""


@dataclass(frozen=True)
class Hessian(Metric):
    """Curvature of the mean loss in evaluation, at fixed samples.

    A network whose weights or products are not finite has NaN in all columns.

    Parameters
    ----------
    samples : int, default=640
        As in [1]_; a run that sees fewer is measured on all it sees.
    split : str, default="train"
        Where they are from.
    probes : int, default=16
        Random vectors of the trace, at least 2; all networks of one size share them.
    iterations : int, default=60
        Most products for the eigenvalues.
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
            "an eigenvalue is nearer to it than this",
        ),
        Column(
            "hessian_top_eig_converged",
            pa.bool_(),
            "-",
            "whether its error is within the tolerance, and no eigenvalue of the other "
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
            "an eigenvalue is nearer to it than this",
        ),
        Column("hessian_trace", pa.float64(), "nats", "unbiased; may be negative"),
        Column("hessian_trace_se", pa.float64(), "nats", "standard error over probes"),
    )

    def __post_init__(self) -> None:
        check_least(self, samples=1, probes=2, iterations=1)
        Setting.of(self, "split").one_of(SPLITS)
        Setting.of(self, "tolerance").number(0, 1, ends="()")

    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Values (n,) by column."""
        n = len(networks)
        out = self.blank(n)
        out["hessian_top_eig_converged"] = np.zeros(n, bool)
        fast = CACHED_BYTES if networks.device.type == "cpu" else GRAPH_BYTES
        per_sample, done = graph_bytes(networks), 0
        for count, rows in groups(networks, self.split, self.samples, fast, 0, per_sample):
            found = self._group(networks.take(rows), count, seed)
            for name, values in found.items():
                out[name][rows] = values
            done += len(rows)
            progress(done / n)
        return out

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Each product is about two gradients."""
        products = TYPICAL + self.probes
        return 2.0 * networks * min(self.samples, train_samples) * products

    def _group(self, networks: Networks, count: int, seed: int) -> dict[str, Array]:
        samples = networks.samples(self.split, count, seed)
        curvature = Curvature(networks, samples)
        n, p = curvature.shape
        if self.probes >= RECORD_FROM and n * p * count <= RECORD_BELOW:
            curvature.record()

        def narrow(rows: Array) -> Product:
            few = networks.take(rows)
            return Curvature(few, few.samples(self.split, count, seed)).product

        # Not the gradient: it found lower eigenvalues first, in 2% of the networks.
        draw = stream(seed, "hessian start").standard_normal(p, np.float32)
        start = torch.from_numpy(draw).to(networks.device).expand(n, p)
        found = lanczos(
            curvature.product, start, self.iterations, self.tolerance, narrow=narrow
        )
        signs = stream(seed, "hessian probes").integers(0, 2, (self.probes, p), np.int8)
        probes = torch.from_numpy(2.0 * signs - 1).float().to(networks.device)
        basis = found.basis[:, : max(1, int(found.products.max()))]
        rest = np.empty((self.probes, n))
        for k in range(self.probes):
            probe = deflated(basis, probes[k].expand(n, p))
            along = (probe * curvature.product(probe)).sum(1)
            rest[k] = along.double().cpu().numpy()
        lost = ~np.isfinite(found.top) | ~np.isfinite(rest).all(0)
        out = {
            "hessian_top_eig": found.top,
            "hessian_top_eig_residual": found.top_residual,
            "hessian_min_eig": found.bottom,
            "hessian_min_eig_residual": found.bottom_residual,
            "hessian_trace": found.trace + rest.mean(0),
            "hessian_trace_se": rest.std(0, ddof=1) / np.sqrt(self.probes),
        }
        out = {name: np.where(lost, np.nan, values) for name, values in out.items()}
        out["hessian_top_eig_converged"] = found.converged & ~lost
        return out


hessian = Hessian()
