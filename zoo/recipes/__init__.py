"""Recipes: one literal each, one line here."""

from zoo.recipes.digits_mlp_batch_phases import (
    digits_mlp_batch_phases as digits_mlp_batch_phases,
)
from zoo.recipes.digits_mlp_phases import digits_mlp_phases as digits_mlp_phases
from zoo.recipes.digits_mlp_seeds import digits_mlp_seeds as digits_mlp_seeds
from zoo.recipes.fashion_mnist_cnn_phases import (
    fashion_mnist_cnn_phases as fashion_mnist_cnn_phases,
)
from zoo.recipes.mnist_cnn_phases import mnist_cnn_phases as mnist_cnn_phases
from zoo.recipes.pinn_convection import pinn_convection as pinn_convection
from zoo.recipes.pinn_mini import pinn_mini as pinn_mini
