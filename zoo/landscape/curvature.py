"""Products of the Hessian of the mean loss with vectors, for n networks side by side.

The gradient is computed once with its graph kept, and every product is one backward
pass through that graph [1]_. If the graph of all samples is larger than the memory that
is given, the samples are taken in parts and the graph of each part is built anew for
every product: slower, but bounded.

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
"""Floats of the graph of a gradient per float that training keeps alive: an assumption."""

GRAPH_BYTES = 256 << 20
"""Bytes of a graph unless said otherwise."""


class Curvature:
    """Gradient and Hessian of the mean loss over fixed samples, of every network.

    The loss is that of evaluation: batch normalisation uses its running statistics, and
    these, like all buffers, are constants.

    Parameters
    ----------
    networks : Networks
        n of them.
    samples : Samples
        Of the same networks.
    memory : int, default=GRAPH_BYTES
        Bytes that the graph may take.

    Attributes
    ----------
    shape : tuple of int
        n and p, the number of parameters.
    losses : Tensor of shape (n,)
        Mean losses.
    gradient : Tensor of shape (n, p)
        Their gradients.
    kept : bool
        Whether the graph is kept between products.
    """

    def __init__(
        self, networks: Networks, samples: Samples, memory: int = GRAPH_BYTES
    ) -> None:
        self._networks, self._samples = networks, samples
        self._weights: StackWeights = networks.stacked()
        self.shape = tuple(self._weights.parameters.shape)
        each = graph_bytes(networks) * len(networks)
        self._size = max(1, min(len(samples), memory // each))
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
        """Hessian times one vector for every network, (n, p) to (n, p)."""
        if tuple(vectors.shape) != self.shape:
            raise ValueError(
                f"vectors must have the shape {self.shape}, one per network. Got "
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
        """Replay recorded kernels from now on, if they prove equal on other vectors.

        Costs about six products, and makes those of small networks up to three times
        faster. Nothing happens on an accelerator, or if the graph is not kept.
        """
        if not self.kept or self.gradient.device.type != "cpu":
            return
        draw = torch.Generator().manual_seed(0)
        self._vectors, self._out = self._zeros(), self._zeros()
        self._vectors.normal_(generator=draw)
        replay = Replay(self._step)
        self._vectors.normal_(generator=draw)
        expected = self._step().clone()
        self._out.zero_()
        # As integers: a network that is dead has NaN in both.
        if torch.equal(replay().view(torch.int32), expected.view(torch.int32)):
            self._replay = replay

    def _step(self) -> Tensor:
        return self._out.copy_(self._along(self._graph, self._vectors))

    def _parts(self) -> Iterator[tuple[float, Batch]]:
        total = len(self._samples)
        for batch in self._samples.batches(self._size):
            yield batch.x.shape[1] / total, batch

    def _derive(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
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
        trainable = self._weights.trainable
        parts = vectors.split([t[0].numel() for t in trainable], 1)
        pairs = [
            (g, part.view(g.shape))
            for g, part in zip(grads, parts, strict=True)
            if g.requires_grad
        ]
        if not pairs:  # the loss is linear in all parameters
            return self._zeros()
        found = torch.autograd.grad(
            [g for g, _ in pairs],
            trainable,
            [part for _, part in pairs],
            retain_graph=self.kept,
            materialize_grads=True,
        )
        return self._flat(found)

    def _flat(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([t.reshape(self.shape[0], -1) for t in tensors], 1)

    def _zeros(self) -> Tensor:
        return torch.zeros_like(self._weights.parameters)


def graph_bytes(networks: Networks) -> int:
    """Bytes that the graph of one network's gradient takes per sample, estimated."""
    return 4 * GRAPH_FACTOR * networks.architecture.activations
