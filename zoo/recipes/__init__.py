"""Recipes: one module with one literal, and one import line, per recipe."""

from collections.abc import Mapping
from typing import Any

from catalog.plugins.registry import Registry
from zoo.recipe import Axis, Draw, Recipe
from zoo.recipes.digits_mlp_batch_phases import (
    digits_mlp_batch_phases as digits_mlp_batch_phases,
)
from zoo.recipes.digits_mlp_phases import digits_mlp_phases as digits_mlp_phases
from zoo.recipes.digits_mlp_seeds import digits_mlp_seeds as digits_mlp_seeds
from zoo.recipes.fashion_mnist_cnn_phases import (
    fashion_mnist_cnn_phases as fashion_mnist_cnn_phases,
)
from zoo.recipes.gpt_mini import gpt_mini as gpt_mini
from zoo.recipes.gpt_openwebtext import gpt_openwebtext as gpt_openwebtext
from zoo.recipes.lora_tree_mini import lora_tree_mini as lora_tree_mini
from zoo.recipes.lora_tree_mini_root import lora_tree_mini_root as lora_tree_mini_root
from zoo.recipes.mnist_cnn_phases import mnist_cnn_phases as mnist_cnn_phases
from zoo.recipes.mnist_cnn_seeds import mnist_cnn_seeds as mnist_cnn_seeds
from zoo.recipes.pinn_convection import pinn_convection as pinn_convection
from zoo.recipes.pinn_mini import pinn_mini as pinn_mini
from zoo.recipes.resnet18_cifar10 import resnet18_cifar10 as resnet18_cifar10
from zoo.recipes.resnet18_cifar100 import resnet18_cifar100 as resnet18_cifar100
from zoo.recipes.resnet18_mini import resnet18_mini as resnet18_mini
from zoo.recipes.resnet18_svhn import resnet18_svhn as resnet18_svhn
from zoo.recipes.resnet18_tiny_imagenet import (
    resnet18_tiny_imagenet as resnet18_tiny_imagenet,
)
from zoo.recipes.resnet50_cifar10 import resnet50_cifar10 as resnet50_cifar10
from zoo.recipes.resnet50_cifar100 import resnet50_cifar100 as resnet50_cifar100
from zoo.recipes.resnet50_mini import resnet50_mini as resnet50_mini
from zoo.recipes.resnet50_svhn import resnet50_svhn as resnet50_svhn
from zoo.recipes.resnet50_tiny_imagenet import (
    resnet50_tiny_imagenet as resnet50_tiny_imagenet,
)
from zoo.recipes.tree_mini import tree_mini as tree_mini
from zoo.recipes.tree_mini_roots import tree_mini_roots as tree_mini_roots
from zoo.recipes.vit_cifar10 import vit_cifar10 as vit_cifar10
from zoo.recipes.vit_cifar100 import vit_cifar100 as vit_cifar100
from zoo.recipes.vit_mini import vit_mini as vit_mini

RECIPES: Registry[Recipe] = Registry("recipe", Recipe, __name__)


def recipe_named(name: str) -> Recipe:
    """Return a recipe by name.

    Raises
    ------
    NotFound
        If there is no recipe of that name; the error lists the closest names.
    """
    return RECIPES[name]


def recipe_from(value: str | Mapping[str, Any]) -> Recipe:
    """Return a recipe from its name, or from the value of `Recipe.to_json`."""
    if isinstance(value, str):
        return RECIPES[value]
    values = {k: _tuple(v) for k, v in value.items()}
    for name in ("load", "temperature"):
        values[name] = Axis(value[name]["name"], _tuple(value[name]["values"]))
    values["vary"] = tuple(Axis(a["name"], _tuple(a["values"])) for a in value["vary"])
    values["draws"] = tuple(
        Draw(**{k: _tuple(v) for k, v in draw.items()}) for draw in value["draws"]
    )
    for name in ("settings", "options"):
        values[name] = {k: _tuple(v) for k, v in value[name].items()}
    return Recipe(**values)


def _tuple(value: Any) -> Any:
    """Convert nested lists, as in JSON, to tuples."""
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value
