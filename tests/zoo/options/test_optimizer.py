"""Optimisers of a stack against torch.optim, one network at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from catalog import NotFound
from zoo.options.optimizer import OPTIMIZERS, check_optimizer, make_optimizer

STEPS, D = 50, 7
TORCH = {
    "sgd": lambda w, lr, m, decay: torch.optim.SGD(
        w, lr=lr, momentum=m, weight_decay=decay
    ),
    "adam": lambda w, lr, m, decay: torch.optim.Adam(
        w, lr=lr, betas=(m, 0.999), weight_decay=decay
    ),
    "adamw": lambda w, lr, m, decay: torch.optim.AdamW(
        w, lr=lr, betas=(m, 0.999), weight_decay=decay
    ),
}
NETS = torch.tensor([[0.1, 0.9, 0.0], [0.01, 0.0, 0.1], [0.003, 0.5, 0.5], [0.0, 0.9, 0.1]])
"""Learning rate, momentum and weight decay of each network."""


def gradients(n: int, seed: int = 0) -> Tensor:
    """Of 50 steps: normal, over many orders of magnitude, some exactly zero."""
    draw = torch.Generator().manual_seed(seed)
    size = 10.0 ** torch.randint(-6, 3, (STEPS, n, D), generator=draw)
    values = torch.randn(STEPS, n, D, generator=draw) * size
    return torch.where(size < 1e-5, 0.0, values)


def near(ours: Tensor, right: Tensor, tolerance: float) -> bool:
    """Steps over many orders of magnitude cancel: to the largest weight."""
    return bool((ours - right).abs().max() <= tolerance * right.abs().max())


def factor(step: int) -> float:
    return 1 - step / STEPS


def stacked(name: str, weights: Tensor, nets: Tensor, steps: Tensor) -> Tensor:
    weights = weights.clone()
    optimizer = OPTIMIZERS[name](weights, *(nets[:, i : i + 1] for i in range(3)))
    for step, gradient in enumerate(steps):
        optimizer.step(gradient.clone(), factor(step))
    return weights


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decays", [True, False])
def test_each_net_moves_as_with_torch(name, decays):
    nets = NETS * torch.tensor([1.0, 1.0, float(decays)])
    start, steps = (
        torch.randn(4, D, generator=torch.Generator().manual_seed(9)),
        gradients(4),
    )
    ours = stacked(name, start, nets, steps)
    for i, (lr, momentum, decay) in enumerate(nets.tolist()):
        weights = start[i].clone().requires_grad_()
        optimizer = TORCH[name]([weights], lr, momentum, decay)
        for step, gradient in enumerate(steps[:, i]):
            optimizer.param_groups[0]["lr"] = lr * factor(step)
            weights.grad = gradient.clone()
            optimizer.step()
        assert near(ours[i], weights.detach(), 1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
@settings(max_examples=15)
@given(order=st.permutations(range(4)), seed=st.integers(0, 1000))
def test_a_net_moves_the_same_whoever_stands_beside_it(name, order, seed):
    start, steps = gradients(4, seed + 1)[0], gradients(4, seed)
    together = stacked(name, start[order], NETS[order], steps[:, order])
    for at, i in enumerate(order):
        alone = stacked(name, start[i : i + 1], NETS[i : i + 1], steps[:, i : i + 1])
        assert near(together[at], alone[0], 1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_nan_gradient_stays_in_its_net(name):
    start, steps = gradients(4, 1)[0], gradients(4)
    dirty = steps.clone()
    dirty[3, 1] = torch.nan
    clean, beside = stacked(name, start, NETS, steps), stacked(name, start, NETS, dirty)
    assert beside[1].isnan().all()
    assert torch.equal(clean[[0, 2, 3]], beside[[0, 2, 3]])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_learning_rate_of_zero_moves_nothing(name):
    start, still = gradients(2, 1)[0], torch.tensor([[0.0, 0.9, 0.1]] * 2)
    assert torch.equal(stacked(name, start, still, gradients(2)), start)


def test_an_unknown_optimizer_is_answered_with_the_closest():
    with pytest.raises(NotFound, match=r"No optimizer 'adamww'. Closest: adamw, adam"):
        check_optimizer("adamww")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_shared_settings_take_the_fused_path_to_the_same_weights(name):
    nets = torch.tensor([[0.01, 0.9, 0.1]]).expand(4, 3)
    start, steps = torch.ones(4, D), gradients(4)
    fused = start.clone()
    optimizer = make_optimizer(name, fused, *(nets[:, i : i + 1] for i in range(3)))
    for step, gradient in enumerate(steps):
        optimizer.step(gradient.clone(), factor(step))
    torch.testing.assert_close(
        fused, stacked(name, start, nets, steps), rtol=1e-5, atol=1e-6
    )


def test_one_differing_net_keeps_every_net_on_its_own_settings():
    nets = torch.tensor([[0.01, 0.9, 0.1], [0.02, 0.9, 0.1]])
    optimizer = make_optimizer(
        "adamw", torch.ones(2, D), *(nets[:, i : i + 1] for i in range(3))
    )
    assert type(optimizer) is OPTIMIZERS["adamw"]
