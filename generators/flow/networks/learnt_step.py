"""Learnt step of gradient descent on weights, the correction that a flow of weights makes.

A network was made by descent on a loss, so its weights differ from noise by sums of outer
products of errors and features. The correction is made of such products: the network runs
on learnt inputs, and learnt errors are propagated back through it. Nothing of the task's
data is used; inputs and targets are whatever improves the flow.

The learnt inputs follow [1]_, the learnt steps [2]_. Unlike both, this module is the
velocity of a flow, and it is learnt from weights alone.

References
----------
.. [1] Kofinas et al., 2024, arXiv:2403.12143, probe features; Kahana et al., 2024,
   arXiv:2410.10811, ProbeGen.
.. [2] Andrychowicz et al., 2016, arXiv:1606.04474.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from zoo import Architecture, Editable

HEAT = 10.0
"""Factor of learnt targets before their softmax, as they are initially small."""
SHARPNESS = 4.0
"""Sharpness of the gate that replaces the derivative of a rectifier.

Its smoothness allows inactive units to become active.
"""
RIDGE = 0.03
"""Penalty of the solved layers, multiplied by a learnt factor."""
TARGET_SCALE = 3.0
"""Scale of the learnt targets of solved layers."""
LARGEST = 0.25
"""Maximum initial change with convolutions, in standard deviations of a tensor."""


class LearntStep(nn.Module):
    """Change (n, d) of weights (n, d), computed from the networks on learnt inputs.

    Parameters
    ----------
    architecture : Architecture
        `Editable` architecture: a chain of affine maps.
    inputs : int
        Number m of learnt inputs.
    width : int
        Number of hidden features of the map that is applied to each unit separately, across
        inputs; 0: no such map.
    embedding : int
        Number of features of time and condition.
    """

    scale: Tensor

    def __init__(
        self, architecture: Architecture, inputs: int, width: int, embedding: int
    ) -> None:
        super().__init__()
        assert isinstance(architecture, Editable)
        self.names = tuple(architecture.affine)
        self.run, self.layout = architecture.forward, architecture.layout
        shapes = [self.layout[f"{name}.weight"].shape for name in self.names]
        outs = [shape[0] for shape in shapes]
        ins = [math.prod(shape[1:]) for shape in shapes]
        self.inputs = nn.Parameter(torch.randn(inputs, *input_shape(architecture)))
        self.targets = nn.Parameter(0.1 * torch.randn(inputs, outs[-1]))
        self.importance = nn.Parameter(torch.zeros(inputs))
        self.goals = _parameters(
            torch.zeros(inputs, *shape) for shape in feature_shapes(architecture)
        )
        self.into = _parameters(torch.eye(size + 1) for size in ins)
        self.out = _parameters(torch.eye(size) for size in outs)
        self.register_buffer("scale", torch.ones(len(outs), 2))
        self.solved = [layer for layer in range(1, len(outs)) if len(shapes[layer]) == 2]
        self.solutions = _parameters(
            0.1 * torch.randn(inputs, outs[layer]) for layer in self.solved
        )
        self.penalties = nn.Parameter(torch.zeros(len(self.solved)))
        hidden = len(outs) - 1
        self.sizes = (3, hidden, hidden, len(outs), len(self.solved), len(self.solved))
        last = nn.Linear(64, sum(self.sizes))
        self.gains = nn.Sequential(nn.Linear(embedding, 64), nn.GELU(), last)
        self.units = nn.ModuleList()
        self.places = nn.ParameterList()
        for out in outs[:-1] if width else ():
            self.units.append(_Unit(inputs, width, embedding))
            self.places.append(nn.Parameter(torch.zeros(out, width)))
        _zero_init(last)

    def forward(self, weights: Tensor, embedded: Tensor, learning: bool = True) -> Tensor:
        """Return the change (n, d); must be called with gradients enabled.

        ``weights`` require a gradient, as the change is made of gradients; the change
        itself can only be differentiated if ``learning``.
        """
        n = len(weights)
        gains = self.gains(embedded).split(self.sizes, 1)
        tensors = self._tensors(weights)
        taps: dict[str, Tensor] = {}
        maps: dict[str, Tensor] = {}

        def record(name: str, z: Tensor) -> Tensor:
            maps[name] = z
            return z.clone()  # the activation may overwrite it

        x = self.inputs[None]
        if not self.convolves:  # `conv2d` takes one batch for all networks
            x = x.expand(n, *self.inputs.shape)
        self.run(tensors, x, taps=taps, edit=record)
        z, h = [maps[name] for name in self.names], list(taps.values())
        share = torch.softmax(self.importance, 0)[:, None]
        delta = self._first_error(z[-1], share, gains[0])
        changes: list[Tensor] = []
        for layer in reversed(range(len(z))):
            parameters = [
                tensors[f"{self.names[layer]}.{part}"] for part in ("weight", "bias")
            ]
            previous = [h[layer - 1]] if layer else []
            gradients = torch.autograd.grad(
                z[layer],
                [*parameters, *previous],
                delta,
                create_graph=learning,
                retain_graph=True,
            )
            change = torch.cat([gradients[0].flatten(2), gradients[1][:, :, None]], 2)
            change = (
                self.out[layer] @ change @ (self.into[layer] * self._column_scale(layer))
            )
            change = change * gains[3][:, layer].exp()[:, None, None]
            if layer in self.solved:
                change = change + self._ridge_change(
                    layer, h[layer - 1], parameters, share, gains
                )
            changes += [change[:, :, -1], change[:, :, :-1].flatten(1)]
            if layer:
                error = self._hidden_error(
                    layer - 1, gradients[2], h[layer - 1], share, gains, embedded
                )
                delta = self._propagated(z[layer - 1], h[layer - 1], error, learning)
        return torch.cat(changes[::-1], 1)

    @property
    def convolves(self) -> bool:
        """True if the architecture has convolutions; see `learnt_steps.convolves`."""
        return self.inputs.dim() > 2

    def _column_scale(self, layer: int) -> Tensor:
        """Return the scale of each column of a layer's change, for weights and bias."""
        weight, bias = self.scale[layer]
        return torch.cat([weight.expand(len(self.into[layer]) - 1), bias[None]])

    @torch.enable_grad()
    def begin(self, weights: Tensor, deviation: Tensor, embedded: Tensor) -> None:
        """Scale down changes that are initially too large, for weights (n, d).

        Convolutions sum over places; without convolutions nothing is scaled.

        Parameters
        ----------
        weights : Tensor of shape (n, d)
            Weights of n networks.
        deviation : Tensor of shape (d,)
            Standard deviation of the weights.
        embedded : Tensor of shape (n, e)
            Embedded times and conditions.
        """
        if not self.convolves:
            return
        initial = weights.detach().clone().requires_grad_()
        change = self(initial, embedded, False).detach() / deviation
        for layer, name in enumerate(self.names):
            for column, kind in enumerate(("weight", "bias")):
                span = self.layout.slices[f"{name}.{kind}"]
                size = change[:, span].square().mean().sqrt()
                self.scale[layer, column] = min(1.0, LARGEST / float(size))

    def _tensors(self, weights: Tensor) -> dict[str, Tensor]:
        return {
            name: weights[:, span].unflatten(1, self.layout[name].shape)
            for name, span in self.layout.slices.items()
        }

    def _first_error(self, z: Tensor, share: Tensor, gain: Tensor) -> Tensor:
        """Return the targets minus the outputs (n, m, classes)."""
        sharp, by_class, by_value = (g[:, None, None] for g in gain.unbind(1))
        z, targets = z.mT, self.targets.mT  # a softmax over a short last axis is slow
        difference = torch.softmax(HEAT * targets, 0) - torch.softmax(z * (1 + sharp), 1)
        error: Tensor = difference * by_class.exp() + (targets - z) * by_value
        return (error * share.T).mT

    def _hidden_error(
        self,
        layer: int,
        back: Tensor,
        h: Tensor,
        share: Tensor,
        gains: tuple[Tensor, ...],
        embedded: Tensor,
    ) -> Tensor:
        """Return errors of hidden features: propagated errors plus learnt ones."""
        places = h.dim() - 3  # number of pixel axes
        column = (slice(None), layer, *[None] * (h.dim() - 1))
        weight = share.unflatten(1, (1,) * (places + 1))
        errors = torch.addcmul(weight * self.goals[layer], back, gains[1][column].exp())
        errors = torch.addcmul(errors, h, weight * gains[2][column], value=-1)
        if not len(self.units):
            return errors
        pixel_axes = tuple(range(3, h.dim()))
        activity = (
            (h.mean(pixel_axes), errors.mean(pixel_axes)) if pixel_axes else (h, errors)
        )
        unit_errors: Tensor = self.units[layer](
            *activity, share, embedded, self.places[layer]
        )
        return errors + unit_errors.unflatten(2, (-1, *[1] * places))

    def _propagated(self, z: Tensor, h: Tensor, error: Tensor, learning: bool) -> Tensor:
        """Propagate errors of features back to the outputs of the affine map."""
        if z.shape == h.shape:
            return error * torch.sigmoid(SHARPNESS * z)
        (gradient,) = torch.autograd.grad(
            h, z, error, create_graph=learning, retain_graph=True
        )
        return gradient

    def _ridge_change(
        self,
        layer: int,
        h: Tensor,
        parameters: list[Tensor],
        share: Tensor,
        gains: tuple[Tensor, ...],
    ) -> Tensor:
        """Return the change to the ridge solution for learnt targets, times a gain."""
        index = self.solved.index(layer)
        h = h.flatten(2)
        h = torch.cat([h, h.new_ones(*h.shape[:2], 1)], 2)
        current = torch.cat([parameters[0], parameters[1][:, :, None]], 2)
        weighed = (share * h).mT
        penalty = RIDGE * (self.penalties[index] + gains[4][:, index]).exp()
        moment = weighed @ h
        moment.diagonal(dim1=1, dim2=2).add_(penalty[:, None])
        residual = weighed @ (TARGET_SCALE * self.solutions[index] - h @ current.mT)
        return _solve(moment, residual).mT * gains[5][:, index, None, None]


class _Unit(nn.Module):
    """Map of the activity of one unit on all inputs; zero before training.

    Tensors have the layout of features, (n, inputs, units): transposed copies took most of
    the time.
    """

    def __init__(self, inputs: int, width: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * inputs + embedding, width)
        self.last = nn.Linear(width, inputs)
        _zero_init(self.last)

    def forward(
        self, h: Tensor, errors: Tensor, share: Tensor, embedded: Tensor, place: Tensor
    ) -> Tensor:
        """Return errors (n, m, units), from features and errors (n, m, units).

        Errors are multiplied by the share (m, 1) of an input, before and after;
        ``embedded`` is (n, e); ``place`` (units, width) holds what is learnt of each unit.
        """
        n, m, _ = h.shape
        feature_weight, error_weight, embedding_weight = self.first.weight.split(
            (m, m, embedded.shape[1]), 1
        )
        x = torch.baddbmm(place.T, feature_weight.expand(n, -1, -1), h)
        x.baddbmm_((error_weight / share.T).expand(n, -1, -1), errors)
        x += (embedded @ embedding_weight.T + self.first.bias)[:, :, None]
        last = share * self.last.weight
        bias = share * self.last.bias[:, None]
        return torch.baddbmm(bias, last.expand(n, -1, -1), nn.functional.gelu(x))


def input_shape(architecture: Architecture) -> tuple[int, ...]:
    """Return the shape of one input."""
    shape = getattr(architecture, "shape", None)
    if shape is None:
        name = architecture.affine[0]  # type: ignore[attr-defined]
        shape = architecture.layout[f"{name}.weight"].shape[1:]
    return tuple(shape)


def feature_shapes(architecture: Architecture) -> list[tuple[int, ...]]:
    """Return the shapes of the hidden features of one input, input side first."""
    taps: dict[str, Tensor] = {}
    tensors = {
        name: torch.zeros(1, *architecture.layout[name].shape)
        for name in architecture.layout.slices
    }
    architecture.forward(tensors, torch.zeros(1, 1, *input_shape(architecture)), taps=taps)
    return [tuple(features.shape[2:]) for features in taps.values()]


def _solve(moment: Tensor, right_side: Tensor) -> Tensor:
    """Solve for symmetric matrices; twice as slow if one is not numerically definite."""
    factor, failed = torch.linalg.cholesky_ex(moment)
    if failed.any():
        return torch.linalg.solve(moment, right_side)
    return torch.cholesky_solve(right_side, factor)


def _parameters(values: Iterable[Tensor]) -> nn.ParameterList:
    return nn.ParameterList(nn.Parameter(value) for value in values)


def _zero_init(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
