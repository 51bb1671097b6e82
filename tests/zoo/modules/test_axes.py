"""Symbols of modules in memory: permuting along them is free, or there are none."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

from catalog import Layout, Param
from catalog.axis_symbol import split_symbol
from zoo.modules.axes import module_axes

CONVS = (None, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
POOLS = (
    (),
    (nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d),
    (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
    (nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d),
)
ELEMENTWISE = (
    nn.ReLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.SiLU, nn.ELU, nn.Identity,
    nn.Dropout,
)  # fmt: skip


@st.composite
def sequentials(draw):
    """A Sequential of known layers, the shape of its input, and its number of layers."""
    dims = draw(st.integers(0, 3))
    channels, side, parts, layers = draw(st.integers(1, 4)), 5, [], 0
    shape = (channels, *[side] * dims)

    def between(size, norms, pools=()):
        for _ in range(draw(st.integers(0, 2))):
            parts.append(draw(st.sampled_from(ELEMENTWISE))())
        if draw(st.booleans()):
            parts.append(draw(st.sampled_from(norms))(size, affine=draw(st.booleans())))
        if pools and draw(st.booleans()):
            kind = draw(st.sampled_from(pools))
            parts.append(kind(2 if "Adaptive" in kind.__name__ else 1))
            return "Adaptive" in kind.__name__
        return False

    if dims:
        for _ in range(draw(st.integers(1, 3))):
            out = draw(st.integers(1, 4))
            bias = draw(st.booleans())
            parts.append(CONVS[dims](channels, out, 3, padding=1, bias=bias))
            channels, layers = out, layers + 1
            side = 2 if between(out, NORMS[dims : dims + 1], POOLS[dims]) else side
        parts.append(nn.Flatten())
        channels *= side**dims
        between(channels, [nn.BatchNorm1d, layer_norm])
    for _ in range(draw(st.integers(0 if dims else 1, 3))):
        out = draw(st.integers(1, 4))
        parts.append(nn.Linear(channels, out, bias=draw(st.booleans())))
        channels, layers = out, layers + 1
        between(out, [nn.BatchNorm1d, layer_norm])
    cut = draw(st.integers(0, len(parts)))
    if draw(st.booleans()):
        parts = [nn.Sequential(*parts[:cut]), nn.Sequential(nn.Sequential(*parts[cut:]))]
    return nn.Sequential(*parts), shape, layers


def layer_norm(size, affine):
    return nn.LayerNorm(size, elementwise_affine=affine)


def layout_of(module):
    axes = module_axes(module)
    state = module.state_dict()
    assert list(axes) == list(state)
    return Layout(tuple(Param(n, tuple(v.shape), axes[n]) for n, v in state.items()))


def change(module, shape, seed):
    """How much permuting the units of a module changes its outputs."""
    rng = np.random.default_rng(seed)
    module = module.double().eval()
    state = module.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            drawn = np.array(rng.normal(size=value.shape))
            drawn = np.abs(drawn) + 0.5 if name.endswith("running_var") else drawn
            state[name] = torch.from_numpy(drawn)
    module.load_state_dict(state)
    x = torch.from_numpy(rng.normal(size=(3, *shape)))
    before = module(x)
    layout = layout_of(module)
    orders = {name: rng.permutation(n) for name, n in layout.symbols.items()}
    for param in layout:
        for axis, symbol in enumerate(param.axes):
            if symbol is not None:
                name, block = split_symbol(symbol)
                rows = (orders[name][:, None] * block + np.arange(block)).ravel()
                state[param.name] = state[param.name].index_select(
                    axis, torch.from_numpy(rows)
                )
    module.load_state_dict(state)
    return (module(x) - before).abs().max().item() / (before.abs().max().item() + 1)


@given(sequentials(), st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=60)
def test_permuting_units_of_known_layers_changes_nothing(network, seed):
    module, shape, layers = network
    assert len(layout_of(module).symbols) == layers - 1  # every hidden layer has one
    assert change(module, shape, seed) < 1e-10


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        return self.fc3(x + torch.relu(self.fc2(x)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(torch.tanh(self.fc1(x)))))


class Skipping(nn.Sequential):
    def forward(self, x):
        return self[2](self[0](x) + self[1](self[0](x)))


class Scaled(nn.Linear):
    def forward(self, x):
        return super().forward(x) * torch.arange(8)


def hooked():
    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    net[0].register_forward_hook(lambda module, args, out: out.cumsum(-1))
    return net


def twice():
    layer = nn.Linear(8, 8)
    return nn.Sequential(nn.Linear(4, 8), layer, nn.Tanh(), layer)


def tied():
    net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.Tanh(), nn.Linear(8, 4))
    net[2].weight = nn.Parameter(net[0].weight.detach().t())
    return net


def buffered():
    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    net.register_buffer("mean", torch.zeros(8))
    return net


def replaced():
    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    net[0].forward = lambda x: nn.Linear.forward(net[0], x).cumsum(-1)
    return net


def image(*parts):
    return nn.Sequential(nn.Conv2d(1, 8, 3), *parts)


@pytest.mark.parametrize(
    "module",
    [
        Residual(),
        Recurrent(),
        image(nn.ReLU(), nn.ConvTranspose2d(8, 8, 3), nn.Conv2d(8, 1, 3)),
        image(nn.GroupNorm(4, 8, affine=False), nn.ReLU(), nn.Conv2d(8, 1, 3)),
        image(nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 1, 3)),
        image(nn.LayerNorm([8, 3, 3]), nn.Conv2d(8, 1, 3)),
        image(nn.Linear(3, 8), nn.Conv2d(8, 1, 1)),
        image(nn.Flatten(2), nn.Conv1d(8, 1, 1)),
        nn.Sequential(nn.Linear(4, 8), nn.MaxPool1d(2), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(4, 8), nn.Softmax(-1), nn.Linear(8, 2)),
        nn.Sequential(nn.Conv1d(2, 8, 1), nn.MaxPool2d(1), nn.Conv1d(8, 1, 1)),
        Skipping(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)),
        nn.Sequential(Scaled(4, 8), nn.Linear(8, 2)),
        nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 8)), nn.Linear(8, 2)),
        hooked(),
        replaced(),
        twice(),
        tied(),
        buffered(),
        nn.Linear(4, 8),
    ],
)
def test_what_is_not_known_to_keep_units_apart_has_no_symbols(module):
    assert layout_of(module).symbols == {}


def test_flattened_channels_span_their_positions():
    tail = [nn.Linear(72, 5), nn.LayerNorm(5), nn.Linear(5, 2)]
    head = [nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3), nn.Flatten(), nn.BatchNorm1d(72)]
    module = image(*head, *tail)
    axes = module_axes(module)
    assert axes["1.running_var"] == ("channels1",)
    assert axes["1.num_batches_tracked"] == ()
    assert axes["5.weight"] == ("channels1*9",)
    assert axes["6.weight"] == ("hidden2", "channels1*9")
    assert axes["7.bias"] == ("hidden2",)
    assert axes["8.weight"] == (None, "hidden2")
