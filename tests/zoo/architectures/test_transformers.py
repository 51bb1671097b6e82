"""Vision transformers and language models: sizes, heads, causality, recording."""

import numpy as np
import pytest
import torch

from zoo.architectures import GPT, ViT
from zoo.engine.batch_gradient import BatchGradient
from zoo.engine.replay import Replay
from zoo.engine.stack_weights import StackWeights
from zoo.objective import Batch
from zoo.objectives import OBJECTIVES

CPU = torch.device("cpu")


def initial(network, nets=2):
    return np.stack([network.init(np.random.default_rng(i)) for i in range(nets)])


def tensors_of(network, weights):
    views = network.layout.unflatten(weights)
    return {name: torch.from_numpy(view.copy()) for name, view in views.items()}


def test_parameters_of_a_vision_transformer_are_counted_by_hand():
    d, tokens, classes, hidden = 24, 16, 10, 48
    block = 2 * 2 * d + 4 * d * d + 3 * d + 2 * d * hidden + hidden + d
    whole = tokens * d + (3 * 16 + 1) * d + 4 * block + 2 * d + (d + 1) * classes
    assert ViT(d, (3, 16, 16), classes).layout.d == whole


def test_parameters_of_gpt2_small_are_the_published_without_biases_of_keys():
    published = 124_439_808
    assert GPT(768, (1024,), 50_257, 12, 12).layout.d == published - 12 * 768


def test_heads_permute_as_blocks_and_units_within_heads():
    for network in (ViT(12, (1, 8, 8), heads=3), GPT(12, (5,), heads=3)):
        layout = network.layout
        assert layout["blocks.1.attention.q.weight"].axes == ("head1*4:qk1", "stream")
        assert layout["blocks.1.attention.out.weight"].axes == (
            "stream",
            "head1*4:value1",
        )
        assert layout.symbols["head1"] == 3
        assert layout.symbols["stream"] == layout.symbols["qk1"] == 12
        assert layout.homes["value0"] == ("head0", 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ViT(1, (1, 8, 8)), "width of ViT must be at least 2.*Got 1"),
        (lambda: ViT(8, (1, 8, 8), heads=3), r"Got 3 heads for width 8, .*\[1, 2, 4, 8\]"),
        (
            lambda: ViT(8, (1, 8, 10)),
            "whole patches of 4 pixels a side.*give a patch that divides",
        ),
        (lambda: ViT(8, (1, 8, 8), patch=0), "patch of ViT must be at least 1. Got 0"),
        (lambda: GPT(8, (1, 8, 8)), r"shape parameter of GPT must be \(tokens,\)"),
        (lambda: GPT(8, (8,), depth=0), "depth of GPT must be at least 1. Got 0"),
        (lambda: GPT(8, (8,), 0), "classes of GPT must be at least 1. Got 0"),
    ],
)
def test_sizes_that_make_no_network_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_heads_follow_the_width_unless_given():
    shape = (1, 8, 8)
    assert [ViT.scaled(w, shape, 3).heads for w in (6, 8, 9, 12)] == [2, 4, 1, 4]
    assert ViT.scaled(6, shape, 3, heads=3).heads == 3
    assert GPT.scaled(6, (4,), 3).heads == 2


@pytest.mark.parametrize("tied", [False, True])
def test_a_token_is_predicted_from_those_before_it(tied):
    network = GPT(8, (9,), 13, heads=2, tied=tied)
    tensors = tensors_of(network, initial(network) * 5)
    x = torch.randint(13, (2, 3, 9), generator=torch.Generator().manual_seed(0))
    logits = network.forward(tensors, x)
    other = x.clone()
    other[:, :, 5] = (x[:, :, 5] + 1) % 13
    changed = (network.forward(tensors, other) != logits).any(3)
    assert not changed[:, :, :5].any()
    assert changed[:, :, 5:].all()
    shorter = network.forward(tensors, x[:, :, :5])
    torch.testing.assert_close(shorter, logits[:, :, :5])


def test_positions_count():
    for network in (ViT(8, (1, 8, 8)), GPT(8, (4,), 5)):
        name = "position" if isinstance(network, ViT) else "wpe.weight"
        tensors = tensors_of(network, initial(network))
        x = torch.ones(2, 3, 1, 8, 8)
        if isinstance(network, GPT):
            x = torch.ones(2, 3, 4, dtype=torch.int64)
        logits = network.forward(tensors, x)
        tensors[name] = tensors[name] + torch.randn(tensors[name].shape)
        assert (network.forward(tensors, x) != logits).any()


def test_weights_into_the_stream_start_smaller():
    network = GPT(64, (32,), depth=8)
    first = network.layout.unflatten(network.init(np.random.default_rng(0)))
    for name, values in first.items():
        if values.ndim == 1:
            scale = "norm" in name and name.endswith("weight")
            assert (values == float(scale)).all()
        else:
            into = name.endswith(("out.weight", "fc2.weight"))
            assert values.std() == pytest.approx(0.02 / 4 if into else 0.02, rel=0.06)
            assert abs(values).max() > 0.05 / (4 if into else 1)  # normal, not uniform


@pytest.mark.parametrize(
    ("network", "objective", "shape"),
    [
        (ViT(8, (1, 8, 8), 3, depth=1, heads=2), "classification", (1, 8, 8)),
        (GPT(8, (6,), 9, depth=1, heads=2), "language", (6,)),
    ],
    ids=["vit", "gpt"],
)
def test_a_step_is_recorded_and_descends(network, objective, shape):
    stack = StackWeights(network.layout, initial(network), CPU)
    draw = torch.Generator().manual_seed(0)
    if objective == "language":
        x = torch.randint(9, (2, 4, *shape), generator=draw)
        y = torch.randint(9, (2, 4, *shape), generator=draw)
    else:
        x = torch.randn(2, 4, *shape, generator=draw)
        y = torch.randint(3, (2, 4), generator=draw)
    memory = Batch(x.clone(), y.clone())
    gradient = BatchGradient(network, OBJECTIVES[objective], stack, memory)
    gradient.record(network.classes)
    assert isinstance(gradient._call, Replay)
    memory.x.copy_(x)
    memory.y.copy_(y)
    losses = []
    for _ in range(80):
        losses.append(gradient().clone())
        with torch.no_grad():
            stack.parameters.sub_(gradient.values, alpha=0.3)
    assert (losses[-1] < 0.8 * losses[0]).all()
