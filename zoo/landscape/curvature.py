"""Products of the Hessian of the mean loss with vectors, for n networks at once.

The gradient is computed once and its graph is kept, so every product is one backward
pass through that graph [1]_. If the graph of all samples exceeds the given memory, the
samples are taken in parts and the graph of each part is built again for every product,
which is slower but needs bounded memory.

References
----------
.. [1] Pearlmutter, 1994, Fast exact multiplication by the Hessian.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from zoo.engine.replay import Replay
from zoo.engine.stack_weights import StackWeights
from zoo.networks import Networks, Samples
from zoo.objective import Batch

GRAPH_FACTOR = 6
"""Assumed number of floats in a gradient's graph per float that training keeps alive."""

GRAPH_BYTES = 256 << 20
"""Default limit of the bytes of a graph."""


class Curvature:
    """Gradient and Hessian of the mean loss over fixed samples, of every network.

    The loss is that of evaluation: batch normalisation uses its running statistics. All
    buffers are constants.

    Parameters
    ----------
    networks : Networks
        n networks.
    samples : Samples
        Samples of the same networks.
    memory : int, default=GRAPH_BYTES
        Largest size of the graph in bytes.

    Attributes
    ----------
    shape : tuple of int
        n, and the number p of parameters.
    losses : Tensor of shape (n,)
        Mean losses.
    gradient : Tensor of shape (n, p)
        Gradients of the mean losses.
    kept : bool
        Whether the graph is kept between products.
    """

    def __init__(
        self, networks: Networks, samples: Samples, memory: int = GRAPH_BYTES
    ) -> None:
        self._networks, self._samples = networks, samples
        self._weights: StackWeights = networks.stacked()
        self.shape = tuple(self._weights.parameters.shape)
        bytes_per_sample = graph_bytes(networks) * len(networks)
        self._size = max(1, min(len(samples), memory // bytes_per_sample))
        self.kept = self._size >= len(samples)
        self.losses = self._zeros()[:, 0]
        self.gradient = self._zeros()
        self._graph: list[Tensor] = []
        self._vectors = self._out = self._weights.parameters
        self._replay: Callable[[], Tensor] | None = None
        for share, batch in self._parts():
            losses, grads = self._derive(batch)
            self.losses += share * losses.detach()
            self.gradient.add_(self._flat([g.detach() for g in grads]), alpha=share)
            self._graph = grads if self.kept else []

    def product(self, vectors: Tensor) -> Tensor:
        """Multiply the Hessian of every network by one vector, (n, p) to (n, p).

        Raises
        ------
        ValueError
            If the vectors have another shape.
        """
        if tuple(vectors.shape) != self.shape:
            raise ValueError(
                f"vectors must have the shape {self.shape}, one vector per network. Got "
                f"{tuple(vectors.shape)}."
            )
        if self._replay is not None:
            self._vectors.copy_(vectors)
            return self._replay().clone()
        if self.kept:
            return self._along(self._graph, vectors)
        out = self._zeros()
        for share, batch in self._parts():
            out.add_(self._along(self._derive(batch)[1], vectors), alpha=share)
        return out

    def record(self) -> None:
        """Replay recorded kernels from now on, if they give equal bits on other vectors.

        The recording costs about six products. It makes products of small networks up to
        three times faster. On an accelerator, or if the graph is not kept, this method
        does nothing.
        """
        if not self.kept or self.gradient.device.type != "cpu":
            return
        generator = torch.Generator().manual_seed(0)
        self._vectors, self._out = self._zeros(), self._zeros()
        self._vectors.normal_(generator=generator)
        replay = Replay(self._step)
        self._vectors.normal_(generator=generator)
        expected = self._step().clone()
        self._out.zero_()
        # Compared as integers: a diverged network has NaN in both.
        if torch.equal(replay().view(torch.int32), expected.view(torch.int32)):
            self._replay = replay

    def _step(self) -> Tensor:
        """Multiply the vectors in memory, for the recording."""
        return self._out.copy_(self._along(self._graph, self._vectors))

    def _parts(self) -> Iterator[tuple[float, Batch]]:
        """Yield the parts of the samples, each with its share of all."""
        total = len(self._samples)
        for batch in self._samples.batches(self._size):
            yield batch.x.shape[1] / total, batch

    def _derive(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Return losses and differentiable gradients on a batch."""
        losses = self._networks.objective.loss(
            self._networks.architecture, self._weights.tensors, batch
        )
        grads = torch.autograd.grad(
            losses,
            self._weights.trainable,
            torch.ones_like(losses),
            create_graph=True,
            materialize_grads=True,
        )
        return losses, list(grads)

    def _along(self, grads: list[Tensor], vectors: Tensor) -> Tensor:
        """Differentiate gradients along vectors (n, p)."""
        trainable = self._weights.trainable
        parts = vectors.split([t[0].numel() for t in trainable], 1)
        pairs = [
            (g, part.view(g.shape))
            for g, part in zip(grads, parts, strict=True)
            if g.requires_grad
        ]
        if not pairs:  # the loss is linear in all parameters
            return self._zeros()
        products = torch.autograd.grad(
            [g for g, _ in pairs],
            trainable,
            [part for _, part in pairs],
            retain_graph=self.kept,
            materialize_grads=True,
        )
        return self._flat(products)

    def _flat(self, tensors: Sequence[Tensor]) -> Tensor:
        """Join tensors of the parameters into a matrix (n, p)."""
        return torch.cat([t.reshape(self.shape[0], -1) for t in tensors], 1)

    def _zeros(self) -> Tensor:
        return torch.zeros_like(self._weights.parameters)


def graph_bytes(networks: Networks) -> int:
    """Estimate the bytes per sample of the graph of one network's gradient."""
    return 4 * GRAPH_FACTOR * networks.architecture.activations
