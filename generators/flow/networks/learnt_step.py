"""One learnt step of gradient descent on weights: what a flow of weights corrects by.

A network was made by descent on a loss: what distinguishes its weights from noise are sums
of outer products of errors and features. So the correction is made of such products: the
network runs on inputs that are learnt, and errors come back through it that are learnt too.
Nothing of the task's data is seen; inputs and targets are whatever makes the flow better.

After the learnt inputs of [1]_ and the learnt optimisers of [2]_; differs from both: this
is the velocity of a flow, and what is learnt is learnt from weights alone.

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
"""By which learnt targets are multiplied before their softmax: they begin small."""
SHARPNESS = 4.0
"""Of the gate that stands for the derivative of a rectifier: units that rest can wake."""
RIDGE = 0.03
"""Penalty of the solved layers, times what is learnt."""
GOAL = 3.0
"""Size of the learnt goals of solved layers."""
LARGEST = 0.25
"""Change to begin with, where there are convolutions, in deviations of a tensor."""


class LearntStep(nn.Module):
    """A change (n, d) of weights (n, d) from what they do on learnt inputs.

    Parameters
    ----------
    architecture : Architecture
        `Editable`: a chain of affine maps.
    inputs : int
        Learnt inputs, m.
    width : int
        Hidden features of the map that looks at each unit, for itself, across inputs; 0:
        none.
    embedding : int
        Features of time and condition.
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
        _zero(last)

    def forward(self, weights: Tensor, embedded: Tensor, learning: bool = True) -> Tensor:
        """The change (n, d); to be called where gradients are enabled.

        ``weights`` require a gradient, as the change is made of gradients; it has one of
        its own only if ``learning``.
        """
        n = len(weights)
        gains = self.gains(embedded).split(self.sizes, 1)
        tensors = self._tensors(weights)
        taps: dict[str, Tensor] = {}
        maps: dict[str, Tensor] = {}

        def seen(name: str, z: Tensor) -> Tensor:
            maps[name] = z
            return z.clone()  # the activation may overwrite it

        x = self.inputs[None]
        if not self.convolves:  # `conv2d` takes one batch for all networks
            x = x.expand(n, *self.inputs.shape)
        self.run(tensors, x, taps=taps, edit=seen)
        z, h = [maps[name] for name in self.names], list(taps.values())
        share = torch.softmax(self.importance, 0)[:, None]
        delta = self._first_error(z[-1], share, gains[0])
        changes: list[Tensor] = []
        for layer in reversed(range(len(z))):
            own = [tensors[f"{self.names[layer]}.{part}"] for part in ("weight", "bias")]
            before = [h[layer - 1]] if layer else []
            found = torch.autograd.grad(
                z[layer],
                [*own, *before],
                delta,
                create_graph=learning,
                retain_graph=True,
            )
            change = torch.cat([found[0].flatten(2), found[1][:, :, None]], 2)
            change = self.out[layer] @ change @ (self.into[layer] * self._columns(layer))
            change = change * gains[3][:, layer].exp()[:, None, None]
            if layer in self.solved:
                change = change + self._solved(layer, h[layer - 1], own, share, gains)
            changes += [change[:, :, -1], change[:, :, :-1].flatten(1)]
            if layer:
                error = self._error(
                    layer - 1, found[2], h[layer - 1], share, gains, embedded
                )
                delta = self._through(z[layer - 1], h[layer - 1], error, learning)
        return torch.cat(changes[::-1], 1)

    @property
    def convolves(self) -> bool:
        """Whether there are convolutions; see `learnt_steps.convolves`."""
        return self.inputs.dim() > 2

    def _columns(self, layer: int) -> Tensor:
        """Scale of each column of a layer's change: of its weights and of its bias."""
        weight, bias = self.scale[layer]
        return torch.cat([weight.expand(len(self.into[layer]) - 1), bias[None]])

    @torch.enable_grad()
    def begin(self, weights: Tensor, deviation: Tensor, embedded: Tensor) -> None:
        """Scale what is too large to begin with, for weights (n, d) of such deviation.

        Convolutions sum over places. Without them nothing is.
        """
        if not self.convolves:
            return
        own = weights.detach().clone().requires_grad_()
        change = self(own, embedded, False).detach() / deviation
        for layer, name in enumerate(self.names):
            for part, kind in enumerate(("weight", "bias")):
                span = self.layout.slices[f"{name}.{kind}"]
                size = change[:, span].square().mean().sqrt()
                self.scale[layer, part] = min(1.0, LARGEST / float(size))

    def _tensors(self, weights: Tensor) -> dict[str, Tensor]:
        return {
            name: weights[:, span].unflatten(1, self.layout[name].shape)
            for name, span in self.layout.slices.items()
        }

    def _first_error(self, z: Tensor, share: Tensor, gain: Tensor) -> Tensor:
        """What the outputs (n, m, classes) should have been, minus what they are."""
        sharp, by_class, by_value = (g[:, None, None] for g in gain.unbind(1))
        z, targets = z.mT, self.targets.mT  # a softmax over a short last axis is slow
        off = torch.softmax(HEAT * targets, 0) - torch.softmax(z * (1 + sharp), 1)
        found: Tensor = off * by_class.exp() + (targets - z) * by_value
        return (found * share.T).mT

    def _error(
        self,
        layer: int,
        back: Tensor,
        h: Tensor,
        share: Tensor,
        gains: tuple[Tensor, ...],
        embedded: Tensor,
    ) -> Tensor:
        """Errors of hidden features: those from behind, and learnt ones."""
        places = h.dim() - 3  # of pixels
        column = (slice(None), layer, *[None] * (h.dim() - 1))
        weight = share.unflatten(1, (1,) * (places + 1))
        found = torch.addcmul(weight * self.goals[layer], back, gains[1][column].exp())
        found = torch.addcmul(found, h, weight * gains[2][column], value=-1)
        if not len(self.units):
            return found
        over = tuple(range(3, h.dim()))
        seen = (h.mean(over), found.mean(over)) if over else (h, found)
        told: Tensor = self.units[layer](*seen, share, embedded, self.places[layer])
        return found + told.unflatten(2, (-1, *[1] * places))

    def _through(self, z: Tensor, h: Tensor, error: Tensor, learning: bool) -> Tensor:
        """Errors of what the affine map gave, from those of the features behind it."""
        if z.shape == h.shape:
            return error * torch.sigmoid(SHARPNESS * z)
        (found,) = torch.autograd.grad(
            h, z, error, create_graph=learning, retain_graph=True
        )
        return found

    def _solved(
        self,
        layer: int,
        h: Tensor,
        own: list[Tensor],
        share: Tensor,
        gains: tuple[Tensor, ...],
    ) -> Tensor:
        """What takes a layer to the ridge solution for learnt goals, times a gain."""
        at = self.solved.index(layer)
        h = h.flatten(2)
        h = torch.cat([h, h.new_ones(*h.shape[:2], 1)], 2)
        now = torch.cat([own[0], own[1][:, :, None]], 2)
        weighed = (share * h).mT
        penalty = RIDGE * (self.penalties[at] + gains[4][:, at]).exp()
        moment = weighed @ h
        moment.diagonal(dim1=1, dim2=2).add_(penalty[:, None])
        left = weighed @ (GOAL * self.solutions[at] - h @ now.mT)
        return _solve(moment, left).mT * gains[5][:, at, None, None]


class _Unit(nn.Module):
    """A map of what one unit does on all inputs; zero before training.

    All is laid out as features are, (n, inputs, units): transposed copies of them took most
    of the time.
    """

    def __init__(self, inputs: int, width: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * inputs + embedding, width)
        self.last = nn.Linear(width, inputs)
        _zero(self.last)

    def forward(
        self, h: Tensor, errors: Tensor, share: Tensor, embedded: Tensor, place: Tensor
    ) -> Tensor:
        """Errors (n, m, units), from features and errors (n, m, units).

        Errors come and go times the share (m, 1) of an input; embedded (n, e); what is
        known of a place (units, width).
        """
        n, m, _ = h.shape
        of_h, of_errors, of_all = self.first.weight.split((m, m, embedded.shape[1]), 1)
        x = torch.baddbmm(place.T, of_h.expand(n, -1, -1), h)
        x.baddbmm_((of_errors / share.T).expand(n, -1, -1), errors)
        x += (embedded @ of_all.T + self.first.bias)[:, :, None]
        last = share * self.last.weight
        bias = share * self.last.bias[:, None]
        return torch.baddbmm(bias, last.expand(n, -1, -1), nn.functional.gelu(x))


def input_shape(architecture: Architecture) -> tuple[int, ...]:
    """Shape of one input."""
    shape = getattr(architecture, "shape", None)
    if shape is None:
        name = architecture.affine[0]  # type: ignore[attr-defined]
        shape = architecture.layout[f"{name}.weight"].shape[1:]
    return tuple(shape)


def feature_shapes(architecture: Architecture) -> list[tuple[int, ...]]:
    """Shapes of the hidden features of one input, input side first."""
    taps: dict[str, Tensor] = {}
    tensors = {
        name: torch.zeros(1, *architecture.layout[name].shape)
        for name in architecture.layout.slices
    }
    architecture.forward(tensors, torch.zeros(1, 1, *input_shape(architecture)), taps=taps)
    return [tuple(features.shape[2:]) for features in taps.values()]


def _solve(moment: Tensor, left: Tensor) -> Tensor:
    """Solutions for symmetric matrices; twice as slow where one is not quite definite."""
    factor, failed = torch.linalg.cholesky_ex(moment)
    if failed.any():
        return torch.linalg.solve(moment, left)
    return torch.cholesky_solve(left, factor)


def _parameters(values: Iterable[Tensor]) -> nn.ParameterList:
    return nn.ParameterList(nn.Parameter(value) for value in values)


def _zero(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
