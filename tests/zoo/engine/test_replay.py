"""A recorded step gives the bits of the step itself, or is not used."""

import itertools

import pytest
import torch
from torch.nn import functional

from zoo.architectures import MLP, CNNSmall
from zoo.engine.replay import Replay, replayed
from zoo.randomness import stream
from zoo.stacked import cross_entropy
from zoo.stacked.activation import ACTIVATIONS

NETS, BATCH, SHAPE = 3, 6, (1, 20, 21)


def step_of(network, seed=0):
    """A training step on fixed memory, and that memory."""
    draws = [network.init(stream(i, "init")) for i in range(NETS)]
    weights = torch.stack([torch.from_numpy(draw) for draw in draws])
    tensors = {
        name: weights[:, columns].view(NETS, *network.layout[name].shape).requires_grad_()
        for name, columns in network.layout.slices.items()
    }
    x = torch.zeros(NETS, BATCH, *SHAPE)
    y = torch.zeros(NETS, BATCH, dtype=torch.int64)
    gradient, ones = torch.empty_like(weights), torch.ones(NETS)

    def step():
        losses = cross_entropy(network.forward(tensors, x), y)
        grads = torch.autograd.grad(losses, list(tensors.values()), ones)
        torch.cat([g.reshape(NETS, -1) for g in grads], 1, out=gradient)
        return losses.detach()

    return step, weights, x, y, gradient


def refill(x, y, seed):
    draw = torch.Generator().manual_seed(seed)
    x.normal_(generator=draw)
    y.random_(0, 4, generator=draw)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("family", ["mlp", "cnn"])
def test_a_recording_gives_the_bits_of_the_step(family, activation):
    network = {
        "mlp": MLP((420, 5, 6, 4), activation),
        "cnn": CNNSmall(3, SHAPE, 4, activation),
    }[family]
    step, weights, x, y, gradient = step_of(network)
    recording = replayed(step, [gradient], lambda: refill(x, y, 0))
    assert isinstance(recording, Replay)
    for seed in range(1, 6):
        refill(x, y, seed)
        with torch.no_grad():
            weights.mul_(1.5)  # as an optimiser changes them, in place
        if seed == 5:
            weights[1] = torch.nan
        losses, moves = step().clone(), gradient.clone()
        gradient.fill_(9.0)
        again = recording()
        assert torch.equal(again.nan_to_num(7.0), losses.nan_to_num(7.0))
        assert torch.equal(gradient.nan_to_num(7.0), moves.nan_to_num(7.0))
    assert again.isnan().tolist() == [False, True, False]


def branch(x, out):
    return out.copy_(x if x.sum() > 0 else -2 * x)


def number(x, out):
    return out.copy_(x * float(x[0]))


def noise(x, out):
    return out.copy_(functional.dropout(x, 0.5))


def outside(x, out):
    return out.copy_(torch.from_numpy(x.numpy() * 2))


@pytest.mark.parametrize("function", [branch, number, noise, outside])
def test_what_a_recording_would_freeze_is_run_as_it_is(function):
    x, out = torch.zeros(8), torch.zeros(8)
    signs = itertools.cycle([1.0, -1.0])

    def step():
        return function(x, out)

    assert replayed(step, [out], lambda: x.fill_(2 * next(signs))) is step
