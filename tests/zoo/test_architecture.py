"""Sizes of the network families; what they all promise is in test_contract."""

import pytest
import torch

from catalog import NotFound
from zoo.architectures import MLP, CNNSmall
from zoo.stacked.activation import ACTIVATIONS, activation, activation_module


def test_the_small_cnn_is_the_published_one():
    network = CNNSmall.scaled(8, (1, 28, 28), 10)
    assert network.layout.d == 2464
    assert network.channels == (8, 6, 4)
    assert network.hidden == 20
    assert network.layout["fc1.weight"].axes == ("hidden", "c3*9")
    assert CNNSmall(8, (3, 28, 28)).layout.d == 2864


def test_an_mlp_scales_in_width_and_depth():
    assert MLP.scaled(32, (1, 8, 8), 10) == MLP((64, 32, 32, 10))
    assert MLP.scaled(3, (2, 5), 4, depth=0) == MLP((10, 4))
    assert MLP((64, 32, 32, 10)).layout.d == 3466
    assert MLP((64, 5, 4, 10)).layout["layer1.weight"].axes == ("hidden2", "hidden1")


def test_the_smallest_image_of_the_small_cnn_has_one_feature():
    assert CNNSmall(2, (1, 20, 21)).features == (1, 1)
    with pytest.raises(ValueError, match=r"at least 20 pixels a side. Got \(1, 20, 19\)"):
        CNNSmall(2, (1, 20, 19))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP((3,)), r"at least two positive numbers of units. Got \(3,\)"),
        (lambda: MLP((3, 0, 2)), r"Got \(3, 0, 2\)"),
        (lambda: CNNSmall(0, (1, 28, 28)), "at least 1. Got 0 and 10"),
        (lambda: CNNSmall(2, (1, 28, 28), 0), "at least 1. Got 2 and 0"),
        (lambda: CNNSmall(2, (28, 28)), r"\(channels, height, width\)"),
    ],
)
def test_sizes_that_make_no_network_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [activation, activation_module, lambda a: MLP((2, 2), a)])
def test_an_unknown_activation_is_answered_with_the_closest(make):
    with pytest.raises(NotFound, match=r"No activation 'tanhh'. Closest: tanh"):
        make("tanhh")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_one_function_in_a_stack_and_in_a_module(name):
    values = [-100.0, -2.0, -0.5, 0.0, 0.5, 2.0, 100.0, float("nan"), float("inf")]
    inputs = [torch.tensor(values, requires_grad=True) for _ in range(2)]
    # A layer may work in place on what it is given, so it gets a temporary.
    outputs = [activation(name)(inputs[0] * 1), activation_module(name)(inputs[1])]
    gradients = [
        torch.autograd.grad(o.sum(), x) for o, x in zip(outputs, inputs, strict=True)
    ]
    assert torch.equal(outputs[0].nan_to_num(7.0), outputs[1].nan_to_num(7.0))
    assert torch.equal(gradients[0][0][:7], gradients[1][0][:7])
