"""Building of torch modules from stored networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog import LayoutMismatch, Population
from catalog.catalog import architecture_of
from catalog.storage.partial import command_for_rest

if TYPE_CHECKING:
    from torch import nn

_NAMED = 5
"""Missing tensors that an error names; the others are counted."""


def build(population: Population, i: int) -> nn.Module:
    """Return network i of a population as a torch module in evaluation mode.

    The module expects inputs that are normalised with the values of the JSON column
    ``task``: ``(raw * scale - mean) / std``, channels first.

    Raises
    ------
    NotFound
        If the architecture is not recorded or unknown to this version.
    LayoutMismatch
        If the network was fetched in part and lacks tensors of its architecture; the
        message names them and the command that fetches the rest.
    RuntimeError
        If tensors do not fit the architecture (torch names them).
    """
    import torch

    from zoo.engine.stack import build_architecture

    architecture = build_architecture(architecture_of(population, i))
    absent = [p.name for p in architecture.layout if p.name not in population.layout]
    if absent:
        more = ", ..." if len(absent) > _NAMED else ""
        raise LayoutMismatch(
            f"Network {i} lacks {len(absent)} of the {len(architecture.layout)} tensors of "
            f"its architecture: {', '.join(absent[:_NAMED])}{more}. Fetch them: "
            f"{command_for_rest(population.table, i)}"
        )
    module = architecture.module()
    state = {}
    for name, values in population.state_dict(i).items():
        tensor = torch.from_numpy(values.copy())
        bfloat = population.layout[name].dtype == "bfloat16"
        state[name] = tensor.view(torch.bfloat16) if bfloat else tensor
    module.load_state_dict(state)
    return module.eval()
