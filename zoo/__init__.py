"""Training and rebuilding populations of networks."""

from zoo.architecture import Architecture as Architecture
from zoo.build import build as build
from zoo.recipe import Axis as Axis
from zoo.recipe import Recipe as Recipe
from zoo.recipe import recipe_named as recipe_named
from zoo.recipe import recipes as list_recipes
from zoo.run import Run as Run
from zoo.task import Task as Task
from zoo.task import load_task as load_task
from zoo.task import task_named as task_named
from zoo.train import Summary as Summary
from zoo.train import train as train

__all__ = [
    "Architecture",
    "Axis",
    "Recipe",
    "Run",
    "Summary",
    "Task",
    "build",
    "list_recipes",
    "load_task",
    "recipe_named",
    "task_named",
    "train",
]
