"""A physics-informed network for u_t + beta u_x = 0 on a circle [1]_, [2]_.

On x in [0, 2 pi) and t in [0, 1], with u(x, 0) = sin x and periodic boundaries, the
solution is sin(x - beta t). A sample is one point (x, t); it brings the residual there,
the initial value at (x, 0) and the boundary at (0, t) and (2 pi, t).

References
----------
.. [1] Krishnapriyan et al., 2021, arXiv:2109.01050. Differs: minibatches of points for all
   three terms and a first-order optimiser in place of L-BFGS.
.. [2] The SciML zoo of arXiv:2504.18072: load = beta, temperature = learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import pi

import torch
from torch import Tensor

from catalog import CatalogError
from zoo.architecture import Architecture
from zoo.objective import Batch, Constants, Objective
from zoo.run import Run
from zoo.task import Data


class Convection(Objective):
    """Squared residual, initial value and boundary, with equal weights.

    The relative error is the squared error over the solution's mean square, 1/2; its root
    is the relative L2 error of [1]_.
    """

    name = "convection"
    judges = "relative_error"

    def loss(
        self,
        architecture: Architecture,
        tensors: Mapping[str, Tensor],
        batch: Batch,
        *,
        training: bool = False,
    ) -> Tensor:
        """Mean over the points of the three squared terms."""
        return self._terms(architecture, tensors, batch)[0].mean(1)

    def judge(
        self, architecture: Architecture, tensors: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """The three squared terms, and the relative error, of every point."""
        with torch.enable_grad():
            loss, u = self._terms(architecture, tensors, batch)
        exact = torch.sin(batch.x[..., 0] - batch.constants["beta"] * batch.x[..., 1])
        return loss.detach(), 2 * (u.detach() - exact).square()

    def chance(self, data: Data, run: Run) -> float:
        """Loss of u = 0: only the initial value is wrong, by sin x."""
        return 0.5

    def constants(self, runs: Sequence[Run], device: torch.device) -> Constants:
        """The convection coefficient beta of each run."""
        missing = [run.cell for run in runs if run.beta is None]
        if missing:
            raise CatalogError(
                f"Cell {missing[0]!r} has no beta; a recipe of the convection task needs "
                "it as an axis or in settings, e.g. Axis('beta', (1.0, 10.0, 30.0))."
            )
        return {"beta": torch.tensor([[float(r.beta or 0)] for r in runs], device=device)}

    def _terms(
        self, architecture: Architecture, tensors: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Squared terms and the solution, each (n, b)."""
        points = batch.x.detach().requires_grad_()
        x, t = batch.x[..., :1], batch.x[..., 1:]
        u = architecture.forward(tensors, points)
        # Reverse mode gives both derivatives at once: u has one value per point.
        (slope,) = torch.autograd.grad(u.sum(), points, create_graph=True)
        residual = slope[..., 1] + batch.constants["beta"] * slope[..., 0]
        zero = torch.zeros_like(x)
        edges = [(x, zero), (zero, t), (zero + 2 * pi, t)]
        places = torch.cat([torch.cat(edge, -1) for edge in edges], 1)
        start, left, right = architecture.forward(tensors, places)[..., 0].chunk(3, 1)
        initial = start - torch.sin(x[..., 0])
        terms = residual.square() + initial.square() + (left - right).square()
        return terms, u[..., 0]


convection = Convection()
