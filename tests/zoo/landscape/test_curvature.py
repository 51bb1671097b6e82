"""Hessian products of a stack against torch modules in double precision."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zoo.architecture import Architecture
from zoo.architectures import MLP, CNNSmall
from zoo.landscape.curvature import Curvature, graph_bytes
from zoo.networks import Networks
from zoo.randomness import stream
from zoo.stacked import (
    affine,
    conv2d,
    conv2d_max_pool2d,
    cross_entropy,
    max_pool2d,
    relu,
)
from zoo.stacked.activation import ACTIVATIONS

SHAPE, NETS, CPU = (1, 20, 20), 3, torch.device("cpu")
MEMBERS = [
    *(MLP((400, 7, 5, 6), name) for name in ACTIVATIONS),
    *(CNNSmall(3, SHAPE, 6, name) for name in ACTIVATIONS),
    MLP((400, 6)),
    MLP((400, 16, 32, 6)),
    CNNSmall(8, SHAPE, 6),
]
member = pytest.mark.parametrize("network", MEMBERS, ids=[repr(m) for m in MEMBERS])


@pytest.fixture
def stacked(blobs, make_run) -> Callable[..., Networks]:
    """Networks of one architecture with initial weights of twice the usual size."""

    def make(network: Architecture, nets: int = NETS) -> Networks:
        draws = [2 * network.init(stream(seed, "init")) for seed in range(nets)]
        runs = (make_run(),) * nets
        return Networks(
            network, blobs, runs, (0,) * nets, ("",) * nets, np.stack(draws), CPU
        )

    return make


def oracle(networks: Networks, i: int, v: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Gradient and Hessian product of one network, in double precision."""
    module = networks.architecture.module()
    state = networks.architecture.layout.unflatten(networks.weights[i].copy())
    module.load_state_dict({k: torch.from_numpy(a) for k, a in state.items()})
    module.double()
    batch = next(networks.samples("train", count, 0).batches())
    loss = functional.cross_entropy(module(batch.x[i].double()), batch.y[i])
    leaves = list(module.parameters())
    first = torch.autograd.grad(loss, leaves, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in first])
    second = torch.autograd.grad(flat @ v.double(), leaves, materialize_grads=True)
    return flat.detach(), torch.cat([g.reshape(-1) for g in second])


def vectors(curvature: Curvature) -> Tensor:
    return torch.randn(curvature.shape, generator=torch.Generator().manual_seed(5))


@member
def test_a_product_is_that_of_the_module_in_double_precision(network, stacked):
    networks = stacked(network)
    curvature = Curvature(networks, networks.samples("train", 37, 0))
    v = vectors(curvature)
    ours = curvature.product(v)
    assert curvature.kept
    for i in range(NETS):
        gradient, second = oracle(networks, i, v[i], 37)
        assert (curvature.gradient[i] - gradient).norm() <= 2e-5 * gradient.norm()
        assert (ours[i] - second).norm() <= 1e-4 * second.norm()


@member
def test_a_dead_net_changes_no_bit_of_its_neighbours(network, stacked):
    networks, found = stacked(network), []
    for broken in (False, True):
        networks.weights[1] = np.nan if broken else networks.weights[1]
        curvature = Curvature(networks, networks.samples("train", 20, 0))
        found.append(curvature.product(vectors(curvature)))
    assert torch.equal(found[0][[0, 2]], found[1][[0, 2]])
    assert found[1][1].isnan().any()


@member
def test_a_recording_gives_the_same_bits(network, stacked):
    networks = stacked(network)
    networks.weights[1] = np.nan
    curvature = Curvature(networks, networks.samples("train", 20, 0))
    vectors_ = [vectors(curvature), vectors(curvature).flip(1)]
    plain = [curvature.product(v) for v in vectors_]
    curvature.record()
    assert curvature._replay is not None
    found = [curvature.product(v) for v in vectors_]
    for a, b in zip(plain, found, strict=True):
        assert torch.equal(a.view(torch.int32), b.view(torch.int32))
        assert not torch.equal(a[0], torch.zeros_like(a[0]))


@pytest.mark.parametrize("network", [MLP((400, 7, 6), "tanh"), CNNSmall(3, SHAPE, 6)])
def test_parts_give_what_the_whole_gives_within_their_memory(network, stacked):
    networks = stacked(network)
    samples = networks.samples("train", 50, 0)
    whole = Curvature(networks, samples)
    # Twelve samples of each network fit: the last part has two.
    parts = Curvature(networks, samples, 12 * NETS * graph_bytes(networks))
    v = vectors(whole)
    assert (whole.kept, parts.kept) == (True, False)
    torch.testing.assert_close(parts.losses, whole.losses)
    torch.testing.assert_close(parts.gradient, whole.gradient, rtol=1e-4, atol=1e-6)
    scale = whole.product(v).abs().max()
    assert (parts.product(v) - whole.product(v)).abs().max() <= 1e-5 * scale


def test_products_are_symmetric_and_linear_and_can_be_repeated(stacked):
    networks = stacked(MLP((400, 7, 6), "gelu"))
    curvature = Curvature(networks, networks.samples("train", 30, 0))
    a, b = vectors(curvature), vectors(curvature).flip(1)
    first = curvature.product(a)
    assert torch.equal(first, curvature.product(a))
    torch.testing.assert_close((b * first).sum(1), (a * curvature.product(b)).sum(1))
    torch.testing.assert_close(
        curvature.product(a + 2 * b),
        first + 2 * curvature.product(b),
        rtol=1e-3,
        atol=1e-4,
    )


def test_vectors_of_another_shape_are_refused(stacked):
    networks = stacked(MLP((400, 6)))
    curvature = Curvature(networks, networks.samples("train", 5, 0))
    with pytest.raises(ValueError, match=r"the shape \(3, 2406\).*Got \(3, 2405\)"):
        curvature.product(torch.zeros(3, 2405))


def normal(*shapes: tuple[int, ...]) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=draw) for shape in shapes]


LABELS = torch.arange(48).view(3, 16) % 5
LAYERS = {
    "linear": (affine, [(3, 16, 9), (3, 5, 9), (3, 5)]),
    "wide linear": (affine, [(3, 7, 9), (3, 16, 9), (3, 16)]),
    "conv2d": (conv2d, [(3, 16, 2, 7, 7), (3, 5, 2, 3, 3), (3, 5)]),
    "conv2d of 1x1": (conv2d, [(3, 16, 2, 4, 4), (3, 5, 2, 1, 1), (3, 5)]),
    "conv2d with stride": (
        lambda x, w, b: conv2d(x, w, b, stride=2, padding=1),
        [(3, 16, 2, 7, 8), (3, 5, 2, 3, 3), (3, 5)],
    ),
    "conv2d_max_pool2d": (
        conv2d_max_pool2d,
        [(3, 16, 2, 8, 9), (3, 5, 2, 3, 3), (3, 5)],
    ),
    "padded conv2d_max_pool2d": (
        lambda x, w, b: conv2d_max_pool2d(x, w, b, padding=1),
        [(3, 16, 2, 8, 9), (3, 5, 2, 5, 5), (3, 5)],
    ),
    "max_pool2d": (max_pool2d, [(3, 16, 2, 6, 7)]),
    "relu": (lambda x: relu(x * 1), [(3, 16, 9)]),
    "cross_entropy": (lambda x: cross_entropy(x, LABELS), [(3, 16, 5)]),
}
SINGLE = {
    "linear": functional.linear,
    "wide linear": functional.linear,
    "conv2d": functional.conv2d,
    "conv2d of 1x1": functional.conv2d,
    "conv2d with stride": lambda *a: functional.conv2d(*a, stride=2, padding=1),
    "conv2d_max_pool2d": lambda *a: functional.max_pool2d(functional.conv2d(*a), 2),
    "padded conv2d_max_pool2d": lambda *a: functional.max_pool2d(
        functional.conv2d(*a, padding=1), 2
    ),
    "max_pool2d": lambda x: functional.max_pool2d(x, 2),
    "relu": functional.relu,
}


@pytest.mark.parametrize("layer", LAYERS)
def test_second_derivatives_of_a_layer_are_torchs_in_all_inputs(layer):
    """Of a layer in the middle: a sine before it, and a sine after it."""
    function, shapes = LAYERS[layer]
    tensors = normal(*shapes)
    found = []
    for side in ("ours", "torch"):
        leaves = [
            t.clone().to(torch.float64 if side == "torch" else t.dtype) for t in tensors
        ]
        leaves = [t.requires_grad_() for t in leaves]
        moved = [(2 * t).sin() for t in leaves]
        if side == "ours":
            out = function(*moved)
        elif layer == "cross_entropy":
            pairs = zip(moved[0], LABELS, strict=True)
            out = torch.stack([functional.cross_entropy(a, b) for a, b in pairs])
        else:
            out = torch.stack([SINGLE[layer](*nets) for nets in zip(*moved, strict=True)])
        value = (1.5 * out).sin().sum()
        first = torch.autograd.grad(value, leaves, create_graph=True)
        along = sum(
            (g * (0.3 * t).cos()).sum() for g, t in zip(first, tensors, strict=True)
        )
        found.append([*first, *torch.autograd.grad(along, leaves)])
    for ours, right in zip(*found, strict=True):
        assert (ours - right).abs().max() <= 1e-4 * right.abs().max() + 1e-6
