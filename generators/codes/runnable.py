"""Whether a flow can run the networks that it makes."""

from __future__ import annotations

from typing import Any

from catalog import Population
from catalog.catalog import architecture_of
from zoo import Editable, build_architecture


def runnable(population: Population) -> dict[str, Any] | None:
    """JSON of the architecture of networks that are chains of affine maps, else None.

    None also where no architecture is recorded, or its tensors are not theirs.
    """
    columns = population.table.column_names
    if "architecture" not in columns or population.table["architecture"].null_count:
        return None
    config = architecture_of(population, 0)
    network = build_architecture(config)
    if not isinstance(network, Editable):
        return None
    chain = [f"{name}.{part}" for name in network.affine for part in ("weight", "bias")]
    if [param.name for param in network.layout] != chain:  # also where there are buffers
        return None
    if network.layout.widened() != population.layout.widened():
        return None
    return config
