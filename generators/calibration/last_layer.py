"""The last affine layer of an architecture, and the features that are its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from catalog import CatalogError
from catalog.dtypes import Array
from generators.exam import Exam

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class LastLayer:
    """Names and size of the layer whose outputs are the logits.

    Attributes
    ----------
    weight, bias : str
        Names of tensors of shapes (classes, features) and (classes,).
    features : int
        Number of inputs of the layer.
    """

    weight: str
    bias: str
    features: int

    @classmethod
    def of(cls, exam: Exam) -> LastLayer:
        """Find the last matrix with a bias, and verify that it gives a network's logits.

        Raises
        ------
        CatalogError
            If the logits are not the outputs of such a layer.
        """
        layout = exam.architecture.layout
        for param in reversed(layout.params):
            bias = param.name.removesuffix("weight") + "bias"
            if param.name.endswith("weight") and len(param.shape) == 2 and bias in layout:
                layer = cls(param.name, bias, param.shape[1])
                if layout[bias].shape == param.shape[:1] and layer._is_last(exam):
                    return layer
                break
        raise CatalogError(
            f"{exam.architecture.name} has no last layer that is a matrix and a "
            "bias, so no head can be refitted."
        )

    def columns(self, exam: Exam) -> Array:
        """Return the mask (d,) of the layer's weights and biases."""
        layout = exam.architecture.layout
        mask = np.zeros(layout.d, bool)
        mask[layout.slices[self.weight]] = mask[layout.slices[self.bias]] = True
        return mask

    def parts(
        self, exam: Exam, weights: Array, x: Tensor
    ) -> Iterator[tuple[slice, Tensors, Tensor]]:
        """Yield networks (n, d) in stacks, with features (networks, m, features)."""
        for rows, stack in exam.stacks(weights, 8 * len(x) * self.features):
            with torch.no_grad():
                yield rows, stack.tensors, self._features(exam, stack.tensors, x)

    def _features(self, exam: Exam, stack: Tensors, x: Tensor) -> Tensor:
        """Return the inputs of the layer: outputs with the identity in its place."""
        n = len(stack[self.weight])
        eye = torch.eye(self.features, device=x.device).expand(n, -1, -1)
        zero = torch.zeros(n, self.features, device=x.device)
        tensors = {**stack, self.weight: eye, self.bias: zero}
        architecture = exam.architecture
        parts = [
            architecture.forward(tensors, part.expand(n, *part.shape))
            for part in x.split(exam.chunk(n))
        ]
        return torch.cat(parts, 1)

    def _is_last(self, exam: Exam) -> bool:
        x, _ = exam.inputs("train", 16)
        ((_, stack, features),) = self.parts(exam, exam.networks.weights[:1], x)
        with torch.no_grad():
            logits = exam.architecture.forward(stack, x[None])
            outputs = features @ stack[self.weight].mT + stack[self.bias][:, None]
        return logits.shape == outputs.shape and bool(
            torch.allclose(
                outputs, logits, rtol=1e-3, atol=1e-3 * float(logits.abs().max())
            )
        )
