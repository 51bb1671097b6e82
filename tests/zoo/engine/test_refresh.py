"""Statistics of batch normalisation after weights were moved."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from catalog import Layout, Param
from zoo.engine.refresh import refresh
from zoo.engine.stack_weights import StackWeights
from zoo.metrics.mode_connectivity import ModeConnectivity
from zoo.networks import Networks
from zoo.task import Raw, Task, prepare

CPU = torch.device("cpu")
NETS, INPUTS, UNITS = 3, 5, 4


@dataclass(frozen=True)
class Normed:
    """Linear, batch normalisation, ReLU, linear; and a buffer that never moves."""

    rate: float = 0.1
    activations = INPUTS + 3 * UNITS + 2
    fewest = 2

    @property
    def layout(self):
        return Layout(
            (
                Param("0.weight", (UNITS, INPUTS)),
                Param("0.bias", (UNITS,)),
                Param("1.weight", (UNITS,)),
                Param("1.bias", (UNITS,)),
                Param("1.running_mean", (UNITS,), role="buffer"),
                Param("1.running_var", (UNITS,), role="buffer"),
                Param("fixed", (2,), role="buffer"),
                Param("3.weight", (2, UNITS)),
                Param("3.bias", (2,)),
            )
        )

    def forward(self, tensors, x, *, training=False, taps=None):
        x = x.flatten(2)
        x = x @ tensors["0.weight"].mT + tensors["0.bias"].unsqueeze(1)
        mean, var = tensors["1.running_mean"], tensors["1.running_var"]
        if training:
            count = x.shape[1]
            batch = x.mean(1), x.var(1, unbiased=False)
            mean.lerp_(batch[0].detach(), self.rate)
            var.lerp_(batch[1].detach() * count / (count - 1), self.rate)
            mean, var = batch
        x = (x - mean.unsqueeze(1)) / (var.unsqueeze(1) + 1e-5).sqrt()
        x = x * tensors["1.weight"].unsqueeze(1) + tensors["1.bias"].unsqueeze(1)
        return x.relu() @ tensors["3.weight"].mT + tensors["3.bias"].unsqueeze(1)

    def module(self):
        return nn.Sequential(
            nn.Linear(INPUTS, UNITS),
            nn.BatchNorm1d(UNITS, momentum=self.rate),
            nn.ReLU(),
            nn.Linear(UNITS, 2),
        )


def weights(rate=0.1):
    draw = np.random.default_rng(0)
    values = draw.normal(size=(NETS, Normed().layout.d)).astype(np.float32)
    return values


def batches(count=4):
    draw = torch.Generator().manual_seed(1)
    return [3 * torch.randn(NETS, 8, INPUTS, generator=draw) + 1 for _ in range(count)]


def buffers(values, which, rate=0.1, inputs=None):
    stack = StackWeights(Normed().layout, values, CPU)
    refresh(Normed(rate), stack, batches() if inputs is None else inputs)
    return stack.tensors[which].clone()


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 1.0])
def test_statistics_are_those_of_update_bn(rate):
    stack = StackWeights(Normed().layout, weights(), CPU)
    refresh(Normed(rate), stack, batches())
    for i in range(NETS):
        module = Normed(rate).module()
        state = {k: t[i].detach() for k, t in stack.tensors.items() if k != "fixed"}
        module.load_state_dict(state, strict=False)
        torch.optim.swa_utils.update_bn([x[i] for x in batches()], module)
        for name in ("1.running_mean", "1.running_var"):
            oracle = module.state_dict()[name]
            torch.testing.assert_close(stack.tensors[name][i], oracle, rtol=2e-5, atol=2e-5)


def test_parameters_and_buffers_that_no_pass_moves_are_kept():
    values = weights()
    stack = StackWeights(Normed().layout, values, CPU)
    parameters = stack.parameters.clone()
    refresh(Normed(), stack, batches())
    assert torch.equal(stack.parameters, parameters)
    fixed = values[:, Normed().layout.slices["fixed"]]
    assert np.array_equal(stack.tensors["fixed"].numpy(), fixed)


def test_statistics_may_be_zero():
    values, layout = weights(), Normed().layout
    values[:, layout.slices["0.weight"]] = values[:, layout.slices["0.bias"]] = 0
    assert (buffers(values, "1.running_mean") == 0).all()
    assert (buffers(values, "1.running_var") == 0).all()


def test_old_statistics_leave_no_trace():
    values = weights()
    first = buffers(values, "1.running_var")
    values[:, Normed().layout.slices["1.running_var"]] = 1e6
    assert torch.equal(buffers(values, "1.running_var"), first)


def test_a_dead_net_changes_no_bit_of_its_neighbours():
    values = weights()
    clean = buffers(values, "1.running_mean")
    values[1] = np.nan
    beside = buffers(values, "1.running_mean")
    assert torch.equal(clean[[0, 2]], beside[[0, 2]])
    assert beside[1].isnan().all()


def test_no_batch_is_an_error():
    with pytest.raises(ValueError, match="at least one batch"):
        buffers(weights(), "1.running_mean", inputs=[])


def test_without_buffers_nothing_is_computed():
    layout = Layout((Param("w", (2,)),))
    stack = StackWeights(layout, np.ones((1, 2), np.float32), CPU)

    def never():
        raise AssertionError
        yield

    refresh(Normed(), stack, never())


def test_statistics_are_those_of_each_point_of_a_curve(make_run):
    """Errors along a line against one module per point and `update_bn`."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, INPUTS, 1, 1)).astype(np.float32) * 3 + 1
    y = (x[:, 0, 0, 0] * x[:, 1, 0, 0] > 0).astype(np.int64)
    task = Task("normed", "normed", (INPUTS, 1, 1), 2, validation=20)
    data = prepare(task, Raw(x[:160], y[:160], x[160:], y[160:], 1.0))
    runs = tuple(make_run(seed=seed, cell="c") for seed in range(2))
    values = weights()[:2]
    networks = Networks(Normed(), data, runs, (0, 0), ("c", "c"), values, CPU)
    metric = ModeConnectivity(steps=40, batch_size=140, points=5)
    measured = metric.measure(networks, seed=0)
    assert np.isfinite(measured["mode_connectivity"]).all()
    found = measured["linear_barrier"]

    inputs, labels = (torch.from_numpy(part["train"]) for part in (data.x, data.y))
    inputs = inputs.flatten(1)
    errors = []
    for t in np.linspace(0, 1, 5):
        point = ((1 - t) * values[0] + t * values[1])[None].astype(np.float32)
        module, state = Normed().module(), Normed().layout.unflatten(point)
        state = {k: torch.from_numpy(v[0].copy()) for k, v in state.items() if k != "fixed"}
        module.load_state_dict(state, strict=False)
        torch.optim.swa_utils.update_bn([inputs], module)
        module.eval()
        errors.append(float((module(inputs).argmax(1) != labels).double().mean()))
    ends = (errors[0] + errors[-1]) / 2
    assert abs(found[0]) > 0.02
    assert found[0] == pytest.approx(max((ends - e for e in errors), key=abs), abs=0.008)
    # Statistics of the first end would give something else.
    stale = []
    for t in np.linspace(0, 1, 5):
        stack = StackWeights(Normed().layout, values[:1], CPU)
        end = StackWeights(Normed().layout, values[1:2], CPU).parameters
        stack.parameters.lerp_(end, float(t))
        logits = Normed().forward(stack.tensors, inputs[None])[0]
        stale.append(float((logits.argmax(1) != labels).double().mean()))
    assert np.abs(np.subtract(stale, errors)).max() > 0.05
