"""The last affine layer of a family, and the features that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from catalog import CatalogError
from catalog.dtypes import Array
from generators.exam import Exam
from zoo.engine.evaluate import CHUNK_FLOATS, FEWEST, networks_in_cache
from zoo.engine.stack_weights import StackWeights
from zoo.merging.made_weights import stacked_rows


@dataclass(frozen=True)
class LastLayer:
    """Names and size of the layer whose outputs are the logits.

    Attributes
    ----------
    weight, bias : str
        Of shape (classes, features) and (classes,).
    features : int
    """

    weight: str
    bias: str
    features: int

    @classmethod
    def of(cls, exam: Exam) -> LastLayer:
        """The last matrix with a bias, tried on a network.

        Raises
        ------
        CatalogError
            If logits are not what it makes of its features.
        """
        layout = exam.networks.architecture.layout
        for param in reversed(layout.params):
            bias = param.name.removesuffix("weight") + "bias"
            if param.name.endswith("weight") and len(param.shape) == 2 and bias in layout:
                found = cls(param.name, bias, param.shape[1])
                if layout[bias].shape == param.shape[:1] and found._is_last(exam):
                    return found
                break
        raise CatalogError(
            f"{exam.networks.architecture.name} has no last layer that is a matrix and a "
            "bias, so no head can be refit."
        )

    def columns(self, exam: Exam) -> Array:
        """Mask (d,) of its weights and biases."""
        layout = exam.networks.architecture.layout
        mask = np.zeros(layout.d, bool)
        mask[layout.slices[self.weight]] = mask[layout.slices[self.bias]] = True
        return mask

    def parts(
        self, exam: Exam, weights: Array, x: Tensor
    ) -> Iterator[tuple[slice, StackWeights, Tensor]]:
        """Networks (n, d) in stacks, with their features (nets, m, features) of inputs."""
        one = exam.networks
        each = 12 * one.architecture.layout.d + 8 * len(x) * self.features
        most = networks_in_cache(one.architecture)
        for part in stacked_rows(len(weights), each, most):
            stack = StackWeights(one.architecture.layout, weights[part], one.device)
            with torch.no_grad():
                yield part, stack, self._features(exam, stack, x)

    def _features(self, exam: Exam, stack: StackWeights, x: Tensor) -> Tensor:
        """What the layer reads: what it gives with the identity in its place."""
        n = len(stack.parameters)
        eye = torch.eye(self.features, device=x.device).expand(n, -1, -1)
        zero = torch.zeros(n, self.features, device=x.device)
        tensors = {**stack.tensors, self.weight: eye, self.bias: zero}
        architecture = exam.networks.architecture
        size = max(FEWEST, CHUNK_FLOATS // (n * architecture.activations))
        parts = [
            architecture.forward(tensors, part.expand(n, *part.shape))
            for part in x.split(size)
        ]
        return torch.cat(parts, 1)

    def _is_last(self, exam: Exam) -> bool:
        one = exam.networks
        x, _ = exam.inputs("train", 16)
        ((_, stack, features),) = self.parts(exam, one.weights[:1], x)
        with torch.no_grad():
            logits = one.architecture.forward(stack.tensors, x[None])
            own = features @ stack.tensors[self.weight].mT
            own = own + stack.tensors[self.bias][:, None]
        return logits.shape == own.shape and bool(
            torch.allclose(own, logits, rtol=1e-3, atol=1e-3 * float(logits.abs().max()))
        )
