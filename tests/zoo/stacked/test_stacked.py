"""Stacked layers against torch.nn.functional, one network at a time."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from zoo.stacked import (
    affine,
    conv2d,
    conv2d_max_pool2d,
    cross_entropy,
    max_pool2d,
    relu,
)

NETS, BATCH = st.integers(1, 4), st.integers(1, 19)
SMALL, SEED = st.integers(1, 5), st.integers(0, 10_000)
MEMORY = st.sampled_from(["contiguous", "channels last", "batch last", "shared"])


def in_memory(x: Tensor, order: str) -> Tensor:
    """The same values with other strides; "shared" has stride 0 along the nets."""
    axes = list(range(x.dim()))
    if order == "shared":
        return x[:1].expand_as(x)
    if order == "channels last":
        axes.append(axes.pop(2))
    elif order == "batch last":
        axes.append(axes.pop(1))
    back = [axes.index(axis) for axis in range(x.dim())]
    return x.permute(axes).contiguous().permute(back)


def pooled(x: Tensor, w: Tensor, b: Tensor, padding: int = 0) -> Tensor:
    return functional.max_pool2d(functional.conv2d(x, w, b, padding=padding), 2)


def check(
    stacked: Callable[..., Tensor], single: Callable[..., Tensor], *tensors: Tensor
) -> None:
    """Values and all gradients agree to 1e-5 of the largest."""
    ours = [tensor.detach().requires_grad_() for tensor in tensors]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    out = stacked(*ours)
    nets = [single(*(tensor[i] for tensor in theirs)) for i in range(len(out))]
    close(out, expected := torch.stack(nets))
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    wanted = torch.autograd.grad(expected, theirs, cotangent)
    for mine, right in zip(torch.autograd.grad(out, ours, cotangent), wanted, strict=True):
        close(mine, right)


def close(ours: Tensor, oracle: Tensor) -> None:
    assert ours.shape == oracle.shape
    assert (ours - oracle).abs().max() <= 1e-5 * oracle.abs().max() + 1e-6


def normal(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw) for shape in shapes]


@given(NETS, BATCH, st.integers(1, 20), st.integers(1, 20), MEMORY, SEED)
def test_linear_is_functional_linear_per_net(n, b, i, o, memory, seed):
    x, w, bias = normal(seed, (n, b, i), (n, o, i), (n, o))
    check(affine, functional.linear, in_memory(x, memory), w, bias)


@given(
    NETS, BATCH, SMALL, SMALL, st.integers(1, 4), st.integers(1, 4), st.integers(0, 4),
    st.integers(1, 3), st.integers(0, 2), MEMORY, SEED,
)  # fmt: skip
def test_conv2d_is_functional_conv2d_per_net(
    n, b, c, o, kh, kw, more, stride, padding, memory, seed
):
    shape = (n, b, c, kh + more, kw + more + 1)
    x, w, bias = normal(seed, shape, (n, o, c, kh, kw), (n, o))
    check(
        lambda *args: conv2d(*args, stride=stride, padding=padding),
        lambda *args: functional.conv2d(*args, stride=stride, padding=padding),
        in_memory(x, memory), w, bias,
    )  # fmt: skip


@given(NETS, BATCH, SMALL, SMALL, st.integers(1, 2), st.integers(0, 2), SEED)
def test_conv2d_takes_one_batch_for_all_nets(n, b, c, o, stride, padding, seed):
    x, w, bias = normal(seed, (1, b, c, 5, 6), (n, o, c, 3, 2), (n, o))

    def one(x: Tensor, w: Tensor, bias: Tensor) -> Tensor:
        return conv2d(x, w, bias, stride, padding)

    ours = [v.clone().requires_grad_() for v in (x, w, bias)]
    theirs = [v.clone().requires_grad_() for v in (x, w, bias)]
    out, expected = one(*ours), one(theirs[0].expand(n, -1, -1, -1, -1), *theirs[1:])
    close(out, expected)
    for found, own in ((out, ours), (expected, theirs)):
        (found**3).sum().backward(inputs=own)
    for mine, right in zip(ours, theirs, strict=True):
        close(mine.grad, right.grad)


@given(
    NETS, BATCH, SMALL, SMALL, st.integers(1, 5), st.integers(1, 5), st.integers(1, 5),
    st.integers(1, 5), st.integers(0, 2), MEMORY, SEED,
)  # fmt: skip
def test_conv2d_max_pool2d_is_the_pool_of_the_convolution(
    n, b, c, o, kh, kw, more_high, more_wide, padding, memory, seed
):
    shape = (n, b, c, kh + more_high, kw + more_wide)
    x, w, bias = normal(seed, shape, (n, o, c, kh, kw), (n, o))
    check(
        lambda *args: conv2d_max_pool2d(*args, padding=padding),
        lambda *args: pooled(*args, padding=padding),
        in_memory(x, memory), w, bias,
    )  # fmt: skip


@given(NETS, BATCH, SMALL, st.integers(2, 7), st.integers(2, 7), MEMORY, SEED)
def test_max_pool2d_is_functional_max_pool2d_per_net(n, b, c, h, w, memory, seed):
    (x,) = normal(seed, (n, b, c, h, w))
    check(max_pool2d, lambda x: functional.max_pool2d(x, 2), in_memory(x, memory))


def test_max_pool2d_gives_the_gradient_of_ties_to_the_first():
    x = torch.randint(0, 2, (2, 3, 2, 6, 6), generator=torch.Generator().manual_seed(0))
    check(max_pool2d, lambda x: functional.max_pool2d(x, 2), x.float())


@given(NETS, BATCH, st.integers(1, 12), st.sampled_from([1, 100]), SEED)
def test_cross_entropy_is_functional_cross_entropy_per_net(n, b, c, size, seed):
    (logits,) = normal(seed, (n, b, c))
    targets = torch.randint(0, c, (n, b), generator=torch.Generator().manual_seed(seed))
    nets = iter(targets)
    check(
        lambda logits: cross_entropy(logits, targets),
        lambda logits: functional.cross_entropy(logits, next(nets)),
        size * logits,
    )


@given(NETS, BATCH, st.integers(1, 20), MEMORY, SEED)
def test_relu_is_functional_relu(n, b, width, memory, seed):
    x, w, bias = normal(seed, (n, b, 3), (n, width, 3), (n, width))
    check(
        lambda *args: relu(affine(*args)),
        lambda *args: functional.relu(functional.linear(*args)),
        in_memory(x, memory), w, bias,
    )  # fmt: skip


def test_cross_entropy_of_a_hopeless_logit_is_exact():
    logits = torch.tensor([[[0.0, 1000.0]], [[0.0, 0.0]]])
    loss = cross_entropy(logits, torch.zeros(2, 1, dtype=torch.int64))
    assert loss.tolist() == pytest.approx([1000.0, 0.6931472])


LAYERS = {
    "linear": (affine, [(3, 16, 9), (3, 5, 9), (3, 5)]),
    "conv2d": (conv2d, [(3, 16, 2, 7, 7), (3, 5, 2, 3, 3), (3, 5)]),
    "conv2d_max_pool2d": (
        conv2d_max_pool2d,
        [(3, 16, 2, 8, 8), (3, 5, 2, 3, 3), (3, 5)],
    ),
    "max_pool2d": (max_pool2d, [(3, 16, 2, 6, 6)]),
}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_bad_net_changes_no_bit_of_its_neighbours(layer, bad):
    function, shapes = LAYERS[layer]
    clean = normal(0, *shapes)
    dirty = [tensor.clone() for tensor in clean]
    for tensor in dirty:
        tensor[1] = bad
    results = []
    for tensors in (clean, dirty):
        leaves = [tensor.requires_grad_() for tensor in tensors]
        out = function(*leaves)
        results.append([out, *torch.autograd.grad(out, leaves, torch.ones_like(out))])
    for untouched, beside in zip(*results, strict=True):
        assert torch.equal(untouched[[0, 2]], beside[[0, 2]])


@pytest.mark.parametrize("layer", ["linear", "conv2d", "conv2d_max_pool2d"])
def test_an_input_that_needs_no_gradient_leaves_the_others_alone(layer):
    function, shapes = LAYERS[layer]
    x, *weights = normal(0, *shapes)
    for tensor in weights:
        tensor.requires_grad_()
    without = torch.autograd.grad(function(x, *weights).sum(), weights)
    x.requires_grad_()
    beside = torch.autograd.grad(function(x, *weights).sum(), weights)
    assert all(torch.equal(a, b) for a, b in zip(without, beside, strict=True))
