"""Building of torch modules from stored networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog import Population
from catalog.catalog import architecture_of

if TYPE_CHECKING:
    from torch import nn


def build(population: Population, i: int) -> nn.Module:
    """Return network i of a population as a torch module in evaluation mode.

    The module expects inputs that are normalised with the values of the JSON column
    ``task``: ``(raw * scale - mean) / std``, channels first.

    Raises
    ------
    NotFound
        If the architecture is not recorded or unknown to this version.
    RuntimeError
        If tensors do not fit the architecture (torch names them).
    """
    import torch

    from zoo.engine.stack import build_architecture

    module = build_architecture(architecture_of(population, i)).module()
    state = {}
    for name, values in population.state_dict(i).items():
        tensor = torch.from_numpy(values.copy())
        bfloat = population.layout[name].dtype == "bfloat16"
        state[name] = tensor.view(torch.bfloat16) if bfloat else tensor
    module.load_state_dict(state)
    return module.eval()
