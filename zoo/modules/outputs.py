"""Outputs of stored networks on fixed inputs, as a function of their weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from catalog import CatalogError, LayoutMismatch, Population
from catalog.catalog import architecture_of
from catalog.dtypes import Array
from zoo.engine.stack import build_architecture
from zoo.engine.stack_weights import StackWeights
from zoo.tasks import TASKS

INPUTS = 32
"""Number of inputs that are drawn if none are given."""


def outputs(
    population: Population, x: Array | None = None, *, seed: int = 0
) -> Callable[[Array], Array]:
    """Return a function that computes the outputs of networks on fixed inputs.

    The function can be passed as ``check=`` to `catalog.Canonicaliser`.

    Parameters
    ----------
    population : Population
        Networks of one architecture that `zoo.modules.build` can make.
    x : ndarray of shape (b, *input shape), optional
        Normalised inputs, or tokens. By default `INPUTS` inputs are drawn for the task of
        the networks, standard normal or uniform over the tokens.
    seed : int, default=0
        Seed of the drawn inputs.

    Returns
    -------
    callable
        Function from weights (m, d) to outputs (m, k), float32.

    Raises
    ------
    NotFound
        If the architecture is not recorded.
    CatalogError
        If neither inputs are given nor a task is recorded.
    LayoutMismatch
        If the architecture has other tensors than the population.

    Examples
    --------
    >>> import json, pyarrow as pa
    >>> from zoo.architectures import MLP
    >>> network = MLP((4, 3, 2))
    >>> table = pa.table({"run_id": ["a"], "step": [0],
    ...                   "architecture": [json.dumps(network.config())]})
    >>> weights = np.ones((1, network.layout.d), np.float32)
    >>> some = Population(weights, network.layout, table)
    >>> outputs(some, np.ones((5, 4), np.float32))(weights).shape
    (1, 10)
    """
    network = build_architecture(architecture_of(population, 0))
    layout = network.layout
    if layout.widened() != population.layout.widened():
        raise LayoutMismatch(
            f"The tensors of the architecture {network.name} differ from those of the "
            f"networks: {layout.difference(population.layout)}."
        )
    batch = torch.from_numpy(
        _drawn_inputs(population, seed) if x is None else np.asarray(x)
    )

    @torch.no_grad()
    def outputs_of(weights: Array) -> Array:
        stack = StackWeights(layout, np.asarray(weights, np.float32), torch.device("cpu"))
        logits = network.forward(stack.tensors, batch.expand(len(weights), *batch.shape))
        return logits.reshape(len(weights), -1).numpy()

    return outputs_of


def _drawn_inputs(population: Population, seed: int) -> Array:
    """Draw inputs for the task of the networks."""
    table = population.table
    name = table["task_name"][0].as_py() if "task_name" in table.column_names else None
    if not name:
        raise CatalogError(
            "The networks have no task_name, so their inputs are not known. Pass x=, an "
            "array (b, *input shape) of normalised inputs."
        )
    task, rng = TASKS[name], np.random.default_rng(seed)
    if task.objective == "language":
        return rng.integers(0, task.classes, (INPUTS, *task.shape))
    return rng.standard_normal((INPUTS, *task.shape), np.float32)
