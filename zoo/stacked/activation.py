"""Activation functions by name, as functions and as modules."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from catalog import NotFound
from catalog.errors import closest
from zoo.stacked import relu

ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[], nn.Module]]] = {
    "relu": (relu, nn.ReLU),
    "tanh": (torch.tanh, nn.Tanh),
    "gelu": (functional.gelu, nn.GELU),
    "silu": (functional.silu, nn.SiLU),
    "sigmoid": (torch.sigmoid, nn.Sigmoid),
    "leaky_relu": (functional.leaky_relu, nn.LeakyReLU),
    "identity": (lambda x: x, nn.Identity),
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Return the activation function of a given name.

    Raises
    ------
    NotFound
        If there is no activation of that name.
    """
    _check(name)
    return ACTIVATIONS[name][0]


def activation_module(name: str) -> nn.Module:
    """Return a new module of the activation of a given name."""
    _check(name)
    return ACTIVATIONS[name][1]()


def _check(name: str) -> None:
    """Raise NotFound if there is no activation of that name."""
    if name not in ACTIVATIONS:
        raise NotFound(f"No activation {name!r}. {closest(name, ACTIVATIONS)}")
