"""Objective of a physics-informed network for u_t + beta u_x = 0 on a circle [1]_, [2]_.

On x in [0, 2 pi) and t in [0, 1], with u(x, 0) = sin x and periodic boundaries, the
solution is sin(x - beta t). A sample is one point (x, t). It contributes the residual at
the point, the initial value at (x, 0) and the boundary values at (0, t) and (2 pi, t).

References
----------
.. [1] Krishnapriyan et al., 2021, arXiv:2109.01050. Differences: minibatches of points
   for all three terms, and a first-order optimiser instead of L-BFGS.
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
    """Squared errors of residual, initial value and boundary, with equal weights.

    The relative error is the squared error divided by the solution's mean square, 1/2. Its
    square root is the relative L2 error of Krishnapriyan et al., 2021, arXiv:2109.01050.
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
        """Return the mean over the points of the sum of the three squared terms."""
        return self._terms(architecture, tensors, batch)[0].mean(1)

    def judge(
        self, architecture: Architecture, tensors: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the three squared terms, and the relative error, by point."""
        with torch.enable_grad():
            loss, u = self._terms(architecture, tensors, batch)
        exact = torch.sin(batch.x[..., 0] - batch.constants["beta"] * batch.x[..., 1])
        return loss.detach(), 2 * (u.detach() - exact).square()

    def chance(self, data: Data, run: Run) -> float:
        """Return the loss of u = 0, for which only the initial value is wrong, by sin x."""
        return 0.5

    def interpolation(self) -> float:
        """Return a loss of the order of a relative L2 error of 1 %.

        The loss is the square of 1 % times the mean square 1/2.
        """
        return 0.5e-4

    def constants(self, runs: Sequence[Run], device: torch.device) -> Constants:
        """Return the convection coefficient beta of each run.

        Raises
        ------
        CatalogError
            If a run has no beta.
        """
        missing = [run.cell for run in runs if run.beta is None]
        if missing:
            raise CatalogError(
                f"Cell {missing[0]!r} has no beta. A recipe of the convection task needs "
                "beta as an axis or in settings, e.g. Axis('beta', (1.0, 10.0, 30.0))."
            )
        return {"beta": torch.tensor([[float(r.beta or 0)] for r in runs], device=device)}

    def _terms(
        self, architecture: Architecture, tensors: Mapping[str, Tensor], batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of squared terms and the solution, each (n, b)."""
        points = batch.x.detach().requires_grad_()
        x, t = batch.x[..., :1], batch.x[..., 1:]
        u = architecture.forward(tensors, points)
        # Reverse mode gives both derivatives at once, as u has one value per point.
        (derivatives,) = torch.autograd.grad(u.sum(), points, create_graph=True)
        residual = derivatives[..., 1] + batch.constants["beta"] * derivatives[..., 0]
        zero = torch.zeros_like(x)
        edge_coordinates = [(x, zero), (zero, t), (zero + 2 * pi, t)]
        edge_points = torch.cat([torch.cat(edge, -1) for edge in edge_coordinates], 1)
        start, left, right = architecture.forward(tensors, edge_points)[..., 0].chunk(3, 1)
        initial = start - torch.sin(x[..., 0])
        terms = residual.square() + initial.square() + (left - right).square()
        return terms, u[..., 0]


convection = Convection()
