"""Training and rebuilding populations of networks.

Names that need torch are imported when they are first used, so that `train` does not wait
twice for torch: it leaves everything that needs torch to worker processes. The functions
that are imported at once, such as `build`, `downstream`, `measure` and `train`, import
torch only when they are called.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo.measuring.downstream import downstream as downstream
from zoo.measuring.measure import Measured as Measured
from zoo.measuring.measure import measure as measure
from zoo.modules.build import build as build
from zoo.modules.import_modules import import_modules as import_modules
from zoo.modules.tensors import to_torch as to_torch
from zoo.training.train import Summary as Summary
from zoo.training.train import train as train

if TYPE_CHECKING:
    from zoo.architecture import Architecture as Architecture
    from zoo.architecture import Editable as Editable
    from zoo.engine.stack import build_architecture as build_architecture
    from zoo.evaluator import Evaluator as Evaluator
    from zoo.modules.outputs import outputs as outputs
    from zoo.modules.torch_dataset import NetworkDataset as NetworkDataset
    from zoo.randomness import stream as stream
    from zoo.recipe import Axis as Axis
    from zoo.recipe import Recipe as Recipe
    from zoo.recipes import recipe_named as recipe_named
    from zoo.run import Run as Run
    from zoo.stored import run_of as run_of
    from zoo.task import Task as Task
    from zoo.task import load_task as load_task
    from zoo.tasks import task_named as task_named
    from zoo.workers.process import keep_freed_memory as keep_freed_memory

_HOMES = {
    "Architecture": "architecture",
    "Axis": "recipe",
    "Editable": "architecture",
    "Evaluator": "evaluator",
    "NetworkDataset": "modules.torch_dataset",
    "Recipe": "recipe",
    "Run": "run",
    "Task": "task",
    "build_architecture": "engine.stack",
    "keep_freed_memory": "workers.process",
    "load_task": "task",
    "outputs": "modules.outputs",
    "recipe_named": "recipes",
    "run_of": "stored",
    "stream": "randomness",
    "task_named": "tasks",
}

__all__ = [
    "Architecture",
    "Axis",
    "Editable",
    "Evaluator",
    "Measured",
    "NetworkDataset",
    "Recipe",
    "Run",
    "Summary",
    "Task",
    "build",
    "build_architecture",
    "downstream",
    "import_modules",
    "keep_freed_memory",
    "load_task",
    "measure",
    "outputs",
    "recipe_named",
    "run_of",
    "stream",
    "task_named",
    "to_torch",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = getattr(import_module(f"zoo.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
