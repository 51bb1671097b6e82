"""Normalisation and grouped convolutions against torch, one network at a time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from zoo.stacked import batch_norm, grouped_conv2d, layer_norm

SMALL, SEED = st.integers(1, 5), st.integers(0, 10_000)


def draws(seed, *shapes):
    draw = torch.Generator().manual_seed(seed)
    made = [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]
    return [tensor.requires_grad_() for tensor in made]


def batch_last(x):
    return x.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3)


def derivatives(out, leaves):
    """Value, gradients, and the gradients of a function of the gradients."""
    draw = torch.Generator().manual_seed(1)
    along = torch.randn(out.shape, generator=draw, dtype=out.dtype)
    first = torch.autograd.grad(out, leaves, along * out, create_graph=True)
    slope = sum((g * g.cos()).sum() for g in first)
    return [out, *first, *torch.autograd.grad(slope, leaves)]


def agree(ours, theirs):
    for mine, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-8, atol=1e-9)


def each(function, *tensors):
    """A function of one network, for all networks."""
    return torch.stack([function(*parts) for parts in zip(*tensors, strict=True)])


@pytest.mark.parametrize("order", [lambda x: x, batch_last], ids=["rows", "batch last"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("nets", [1, 3])
def test_batch_norm_is_torchs_with_two_derivatives(nets, training, order):
    leaves = draws(0, (nets, 6, 4, 3, 2), (nets, 4), (nets, 4))
    running = [torch.rand(nets, 4, dtype=torch.float64) + 0.5 for _ in range(2)]
    # As in a stack: rows of a matrix that holds more.
    ours = [torch.cat([s, s], 1)[:, :4] for s in running]
    theirs = [s.clone() for s in running]
    x, weight, bias = leaves
    out = batch_norm(order(x), weight, bias, *ours, training=training)

    def oracle(x, weight, bias, mean, var):
        norm = torch.nn.BatchNorm2d(4).double().train(training)
        norm.running_mean, norm.running_var = mean, var
        parts = {"weight": weight, "bias": bias}
        return torch.func.functional_call(norm, parts, x)

    wanted = each(oracle, x, weight, bias, *theirs)
    agree(derivatives(out, leaves), derivatives(wanted, leaves))
    agree(ours, theirs)
    assert training != torch.equal(ours[0], running[0])


def test_running_statistics_of_stacks_move_in_their_matrix():
    matrix = torch.zeros(3, 7)
    mean, var = matrix[:, :2], matrix[:, 4:6]
    batch_norm(torch.randn(3, 8, 2, 2, 2), *torch.ones(2, 3, 2), mean, var, training=True)
    assert (matrix != 0).tolist() == [[True, True, False, False, True, True, False]] * 3


def test_one_value_has_no_variance():
    x, ones = torch.randn(2, 1, 3, 1, 1), torch.ones(2, 3)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        batch_norm(x, ones, ones, ones.clone(), ones.clone(), training=True)
    batch_norm(x, ones, ones, ones.clone(), ones.clone())


@given(SMALL, SMALL, SMALL, SMALL, st.sampled_from([1, 3]), st.integers(1, 2), SEED)
def test_grouped_convolutions_are_torchs(nets, batch, inputs, outputs, side, stride, seed):
    shape = (nets, batch, inputs, 5, 6)
    x, w = leaves = draws(seed, shape, (nets, outputs, inputs, side, side))
    padding = side // 2

    def oracle(x, w):
        return functional.conv2d(x, w, None, stride, padding)

    wanted = derivatives(each(oracle, x, w), leaves)
    agree(derivatives(grouped_conv2d(x, w, stride, padding), leaves), wanted)
    out = grouped_conv2d(batch_last(x), w, stride, padding)
    agree(derivatives(out, leaves), wanted)


@given(SMALL, st.integers(2, 9), SMALL, SEED)
def test_layer_norm_is_torchs_with_two_derivatives(nets, width, columns, seed):
    leaves = draws(seed, (nets, width, columns), (nets, width), (nets, width))

    def oracle(x, weight, bias):
        return functional.layer_norm(x.mT, (width,), weight, bias).mT

    ours, theirs = layer_norm(*leaves), each(oracle, *leaves)
    wanted = derivatives(theirs, leaves)
    for mine, right in zip(derivatives(ours, leaves), wanted, strict=True):
        assert (mine - right).abs().max() <= 1e-7 * right.abs().max()


def test_a_constant_column_is_normalised_to_the_bias():
    x = torch.full((1, 4, 2), 3.0)
    bias = torch.arange(4.0)[None]
    out = layer_norm(x, torch.ones(1, 4), bias)
    assert torch.equal(out, bias[:, :, None].expand(1, 4, 2))


@pytest.mark.parametrize("outputs", [1, 4, 16, 24])
@pytest.mark.parametrize("inputs", [1, 3, 8, 16, 32])
@pytest.mark.parametrize(("side", "stride"), [(1, 1), (3, 1), (3, 2)])
def test_groups_are_apart_for_all_kernels_of_torch(inputs, outputs, side, stride):
    """Torch chooses kernels by the channels of a group; none may mix groups."""
    results = []
    for dead in (False, True):
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(3, 4, inputs, 8, 8, generator=draw)
        w = torch.randn(3, outputs, inputs, side, side, generator=draw)
        x[1], w[1] = (torch.nan, torch.inf) if dead else (x[1], w[1])
        leaves = [x.requires_grad_(), w.requires_grad_()]
        out = grouped_conv2d(x, w, stride, side // 2)
        results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    for clean, beside in zip(*results, strict=True):
        assert torch.equal(clean[[0, 2]], beside[[0, 2]])
        assert beside[1].isnan().all()
