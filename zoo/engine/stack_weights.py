"""Weights of a stack on a device: parameters in one matrix, buffers in another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from catalog import Layout
from catalog.dtypes import Array


class StackWeights:
    """Tensors of n networks as views of two matrices.

    Parameters
    ----------
    layout : Layout
        Layout of one network.
    weights : ndarray of shape (n, d)
        Weights; the stack copies them.
    device : torch.device
        Device of the copies.

    Attributes
    ----------
    parameters : Tensor of shape (n, p)
        Trained weights, in the order of the layout.
    buffers : Tensor of shape (n, d - p)
        Weights that are not trained, such as the running statistics of batch
        normalisation.
    tensors : dict of str to Tensor of shape (n, *shape)
        Views of the two matrices by name; views of parameters require a gradient.
    """

    def __init__(self, layout: Layout, weights: Array, device: torch.device) -> None:
        trained = parameter_columns(layout)
        self._trained, self._n = trained, len(weights)
        parts = [np.ascontiguousarray(weights[:, mask]) for mask in (trained, ~trained)]
        self.parameters, self.buffers = (torch.from_numpy(p).to(device) for p in parts)
        self.tensors: dict[str, Tensor] = {}
        starts = {"parameter": 0, "buffer": 0}
        for param in layout:
            if not param.in_vector:
                continue
            matrix = self.parameters if param.role == "parameter" else self.buffers
            start = starts[param.role]
            starts[param.role] += param.size
            columns = matrix[:, start : start + param.size]
            self.tensors[param.name] = columns.view(self._n, *param.shape)
        self.trainable = [
            self.tensors[p.name].requires_grad_() for p in layout if p.role == "parameter"
        ]

    def matrix(self) -> Array:
        """Copy all weights, shape (n, d), in the order of the layout."""
        out = np.empty((self._n, len(self._trained)), np.float32)
        out[:, self._trained] = self.parameters.detach().cpu().numpy()
        out[:, ~self._trained] = self.buffers.detach().cpu().numpy()
        return out


def parameter_columns(layout: Layout) -> Array:
    """Return a mask (d,) of the columns that are parameters."""
    mask = np.zeros(layout.d, bool)
    for name, columns in layout.slices.items():
        mask[columns] = layout[name].role == "parameter"
    return mask
