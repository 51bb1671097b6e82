"""Distances between the weights of seeds, and what networks get from their pairs."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from catalog import Layout, Param
from zoo.metrics import weight_distance
from zoo.networks import Networks


@dataclass(frozen=True)
class Buffered:
    @property
    def layout(self):
        return Layout(
            (
                Param("a", (2,)),
                Param("mean", (1,), role="buffer"),
                Param("b", (1,)),
            )
        )


@pytest.fixture
def networks(blobs, make_run):
    def networks(weights, cells):
        n = len(weights)
        runs = tuple(make_run(seed=i) for i in range(n))
        weights = np.array(weights, np.float32)
        return Networks(
            Buffered(), blobs, runs, (0,) * n, tuple(cells), weights, torch.device("cpu")
        )

    return networks


def test_the_distance_is_that_of_the_parameters_alone(networks):
    found = weight_distance.measure(
        networks([[3, 0, 100, 0], [0, 0, -7, 4], [0, 4, 0, 4]], "ccc"), seed=0
    )
    # 5 between the first two, 4 between the last two, sqrt(9 + 16 + 16) else.
    far = 41**0.5
    np.testing.assert_allclose(
        found["weight_distance"], [(5 + far) / 2, 4.5, (4 + far) / 2]
    )
    left = np.array([5, 4, far])
    error = np.sqrt(2 / 3 * ((left - left.mean()) ** 2).sum())
    np.testing.assert_allclose(found["weight_distance_se"], [error] * 3)
    relative = [5 / 12**0.5, far / (3 * 32**0.5) ** 0.5, 4 / (4 * 32**0.5) ** 0.5]
    expected = [
        relative[0] + relative[1],
        relative[0] + relative[2],
        relative[1] + relative[2],
    ]
    np.testing.assert_allclose(found["weight_distance_relative"], np.array(expected) / 2)
    assert set(found) == {column.name for column in weight_distance.columns}


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_dead_and_single_networks(networks, broken):
    rows = [[1, 0, 0, 0], [broken, 0, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0], [0, 9, 9, 9]]
    found = weight_distance.measure(networks(rows, "cccdd"), seed=0)
    distances = found["weight_distance"]
    assert distances[[0, 2]].tolist() == [3, 3]
    assert np.isnan(distances[1])
    assert np.isnan(found["weight_distance_se"]).all()
    # A network of norm zero has no relative distance.
    assert distances[3:].tolist() == [162**0.5] * 2
    assert np.isnan(found["weight_distance_relative"][3:]).all()
    alone = weight_distance.measure(networks(rows[:1], "c"), seed=0)
    assert all(np.isnan(column).all() for column in alone.values())


def test_independent_networks_are_root_two_apart(blobs, make_run):
    draw = np.random.default_rng(0)

    class Wide:
        layout = Layout((Param("w", (20_000,)),))

    weights = draw.normal(size=(3, 20_000)).astype(np.float32)
    runs = tuple(make_run(seed=i) for i in range(3))
    found = weight_distance.measure(
        Networks(Wide(), blobs, runs, (0,) * 3, ("c",) * 3, weights, torch.device("cpu")),
        seed=0,
    )
    np.testing.assert_allclose(found["weight_distance_relative"], 2**0.5, rtol=0.03)
