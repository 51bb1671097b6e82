"""Residual networks: sizes of the published zoos, statistics, training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from zoo.architectures import ResNet18, ResNet50
from zoo.engine.batch_gradient import BatchGradient
from zoo.engine.replay import Replay
from zoo.engine.stack import best_size
from zoo.engine.stack_weights import StackWeights
from zoo.objective import Batch
from zoo.objectives import OBJECTIVES

IMAGE = (3, 32, 32)
CPU = torch.device("cpu")


def trained(network):
    return sum(p.size for p in network.layout if p.role == "parameter")


def test_sizes_are_those_of_the_published_zoos():
    small = [trained(ResNet18(w, IMAGE)) for w in (2, 4, 8, 16, 32, 64)]
    assert small == [11_420, 44_622, 176_402, 701_466, 2_797_610, 11_173_962]
    large = [trained(ResNet50(w, IMAGE)) for w in (2, 4, 8, 16, 32, 64)]
    assert large == [25_260, 96_302, 375_762, 1_484_186, 5_899_050, 23_520_842]


def test_names_are_torchvisions():
    names = [p.name for p in ResNet18(2, IMAGE).layout]
    assert len(names) == 20 + 4 * 20 + 2
    assert names[:5] == [
        "conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var",
    ]  # fmt: skip
    assert "layer2.0.downsample.0.weight" in names
    assert "layer1.0.downsample.0.weight" not in names
    assert "layer1.0.downsample.1.running_var" in ResNet50(2, IMAGE).layout
    assert "layer4.2.conv3.weight" in ResNet50(2, IMAGE).layout
    roles = {p.name.rsplit(".")[-1]: p.role for p in ResNet18(2, IMAGE).layout}
    assert roles == {
        "weight": "parameter", "bias": "parameter",
        "running_mean": "buffer", "running_var": "buffer",
    }  # fmt: skip


def test_a_stage_shares_its_symbol_and_inner_channels_have_their_own():
    layout = ResNet18(2, IMAGE).layout
    assert layout["conv1.weight"].axes[0] == layout["layer1.1.conv2.weight"].axes[0]
    assert layout["layer2.0.downsample.0.weight"].axes[:2] == ("stage2", "stage1")
    assert layout["layer2.0.bn1.running_var"].axes == ("layer2.0.conv1",)
    assert len(layout.symbols) == 4 + 8
    assert len(ResNet50(2, IMAGE).layout.symbols) == 1 + 4 + 2 * 16


def test_initial_weights_are_those_of_the_published_zoos():
    network = ResNet18(4, IMAGE)
    first = network.layout.unflatten(network.init(np.random.default_rng(0)))
    for name, values in first.items():
        if values.ndim > 1:
            bound = np.sqrt(6 / np.prod(values.shape[1:]))
            assert 0.9 * bound < abs(values).max() <= bound
        else:
            one = name.endswith("running_var") or ("bn" in name and "weight" in name)
            one |= name.endswith("downsample.1.weight")
            expected = 0.01 if name == "fc.bias" else float(one)
            assert (values == np.float32(expected)).all()


@pytest.mark.parametrize("family", [ResNet18, ResNet50])
def test_sizes_that_make_no_network_are_refused(family):
    with pytest.raises(ValueError, match=rf"{family.__name__} must be .*8 pixels.*mlp"):
        family(4, (3, 7, 32))
    with pytest.raises(ValueError, match=rf"{family.__name__} must be at least 1. Got 0"):
        family(0, IMAGE)
    assert family(4, (3, 8, 8)) != (ResNet50 if family is ResNet18 else ResNet18)(
        4, (3, 8, 8)
    )


def test_stacks_are_deep_although_they_leave_the_caches(make_run):
    network = ResNet18(8, IMAGE)
    run = replace(make_run(), architecture=network.config(), batch_size=128)
    assert best_size(run, network) == 8


@pytest.mark.parametrize("nets", [1, 2])
def test_a_recorded_step_moves_the_statistics_as_the_step_does(nets):
    network = ResNet18(2, (2, 8, 8), 3)
    weights = np.stack([network.init(np.random.default_rng(i)) for i in range(nets)])
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(nets, 6, 2, 8, 8, generator=draw)
    y = torch.randint(3, (nets, 6), generator=draw)
    found = []
    for recorded in (False, True):
        stack = StackWeights(network.layout, weights, CPU)
        objective = OBJECTIVES["classification"]
        memory = Batch(torch.zeros_like(x), torch.zeros_like(y))
        gradient = BatchGradient(network, objective, stack, memory)
        if recorded:
            before = stack.buffers.clone()
            gradient.record(3)
            assert isinstance(gradient._call, Replay)
            assert torch.equal(stack.buffers, before)
        memory.x.copy_(x)
        memory.y.copy_(y)
        losses = [gradient().clone() for _ in range(2)]
        found.append([*losses, gradient.values, stack.buffers])
        assert (stack.buffers != torch.from_numpy(weights[:, :1])).any()
    for mine, right in zip(*found, strict=True):
        assert torch.equal(mine, right)


def test_a_network_trains_alike_alone_and_beside_one_that_dies(blobs, make_run, fit):
    """Rounding grows a hundred times in eight steps, so alone is compared early."""
    config, last = ResNet18(2, (1, 20, 20), 6).config(), make_run().steps

    def trained(*rates, steps=last):
        runs = [
            replace(
                make_run(), architecture=config, lr=lr, seed=seed, batch_size=16,
                steps=steps, checkpoints=(0, steps),
            )
            for seed, lr in rates
        ]  # fmt: skip
        return fit(blobs, *runs)

    own = (2, 0.02)
    together = trained((0, 0.05), (1, 1e20), own)
    assert together.diverged[1] >= 0
    assert together.diverged[[0, 2]].tolist() == [-1, -1]
    beside = trained((0, 0.05), (1, 0.03), own)
    dying, living = (found.checkpoints[-1].weights[2] for found in (together, beside))
    np.testing.assert_array_equal(dying, living)
    alone, early = (
        trained(*some, steps=8).checkpoints[-1].weights[-1]
        for some in ((own,), ((0, 0.05), (1, 1e20), own))
    )
    np.testing.assert_allclose(early, alone, atol=1e-5)
    last = together.checkpoints[-1]
    first = together.checkpoints[0].scores["test"].loss
    assert last.scores["test"].loss[0] < 0.7 * first[0]
