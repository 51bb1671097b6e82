"""Request of training: everything that a call of `train` is asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from catalog.console.options import option
from zoo.training.memory import default_memory, parse_memory
from zoo.workers.request import WorkRequest

if TYPE_CHECKING:
    from zoo.recipe import Recipe


@dataclass(frozen=True)
class TrainRequest(WorkRequest):
    """Request to train the runs of a recipe.

    Attributes
    ----------
    recipe : Recipe or str
        Recipe to train, or the name of a recipe in `zoo.recipes`.
    catalog : str or Path
        Folder of the catalogue; created if it does not exist.
    nets : int, optional
        Maximum number of networks in a stack; default: the number that trains fastest on
        the device.
    workers : int, optional
        Number of worker processes; default: one per core, or one on an accelerator.

    Raises
    ------
    CatalogError
        If a field is out of range.
    """

    recipe: Recipe | str
    catalog: str | Path
    limit: int | None = option(
        None,
        "--limit",
        "Maximum number of runs to train, spread over the grid. Default: all.",
        least=1,
    )
    memory: int | str | None = option(
        None,
        "--memory",
        "Memory of all workers together, such as 4GB. Default: half of the machine's "
        "memory.",
        metavar="SIZE",
    )
    nets: int | None = None
    _: KW_ONLY
    workers: int | None = option(
        None,
        "--workers",
        "Number of worker processes. Default: one per core, or one on an accelerator.",
        least=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.memory, str):
            parse_memory(self.memory)

    def loaded_recipe(self) -> Recipe:
        """Return the recipe itself.

        Raises
        ------
        NotFound
            If no recipe has this name.
        """
        from zoo.recipes import RECIPES

        return RECIPES[self.recipe] if isinstance(self.recipe, str) else self.recipe

    def setup(self) -> dict[str, Any]:
        """Return the first message to the workers, with the memory of each in bytes."""
        memory = parse_memory(self.memory) if isinstance(self.memory, str) else self.memory
        each = (memory or default_memory()) // self.processes
        return {**super().setup(), "memory": each}

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, for `from_json`."""
        recipe = self.recipe if isinstance(self.recipe, str) else self.recipe.to_json()
        return {**super().to_json(), "recipe": recipe}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Make the request from the value of `to_json`."""
        from zoo.recipes import recipe_from

        recipe = values["recipe"]
        recipe = recipe if isinstance(recipe, str) else recipe_from(recipe)
        return cls(**{**values, "recipe": recipe})
