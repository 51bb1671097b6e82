import numpy as np
import pytest

import probes.exact.centring
from catalog import Layout, LayoutMismatch, Param
from probes.exact.centring import Centring
from probes.layers import layers_of

LAYOUT = Layout(
    (
        Param("bias", (3,)),
        Param("w", (4, 5)),
        Param("q.lora_A.weight", (2, 5)),
        Param("q.lora_B.weight", (4, 2)),
    )
)
LAYERS = layers_of(LAYOUT)


@pytest.fixture
def weights(monkeypatch):
    monkeypatch.setattr(probes.exact.centring, "BLOCK", 60)  # several blocks
    rng = np.random.default_rng(0)
    return rng.standard_normal((6, LAYOUT.d)).astype(np.float32)


@pytest.mark.parametrize("layer", LAYERS, ids=["dense", "low_rank"])
def test_the_mean_and_one_scale_go(weights, layer):
    matrices = Centring.of(weights, layer).apply(weights)
    raw = layer.of(weights) - layer.of(weights).mean(0)
    np.testing.assert_allclose(matrices, raw / np.sqrt((raw**2).mean()), atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS, ids=["dense", "low_rank"])
def test_a_given_root_and_own_scales_go(weights, layer):
    centring = Centring.of(weights[1:], layer, root=weights[0], scale="sample")
    raw = layer.of(weights) - layer.of(weights[:1])
    rms = np.sqrt((raw**2).mean((1, 2)))
    assert rms[0] == 0
    rms[0] = 1
    np.testing.assert_allclose(centring.divisors(weights), rms, rtol=1e-5)
    np.testing.assert_allclose(centring.apply(weights), raw / rms[:, None, None], atol=1e-5)


def test_nothing_goes_when_nothing_is_asked_for(weights):
    centring = Centring.of(weights, LAYERS[0], root=None, scale=None)
    np.testing.assert_array_equal(centring.apply(weights), LAYERS[0].of(weights))


@pytest.mark.parametrize("scale", ["global", "sample"])
def test_what_all_networks_share_is_zero(weights, scale):
    same = np.tile(weights[:1] * np.float32(0.1), (7, 1))
    for layer in LAYERS:
        left = Centring.of(same, layer, scale=scale).apply(same)
        # A product of factors may round differently from row to row.
        assert np.abs(left).max() <= 1e-8


def test_a_far_root_costs_no_digits(weights):
    far = (weights.astype(np.float64) * 1e-4 + 7).astype(np.float32)
    dense = LAYERS[0]
    exact = dense.of(far.astype(np.float64))
    exact = exact - exact.mean(0)
    exact /= np.sqrt((exact**2).mean())
    np.testing.assert_allclose(Centring.of(far, dense).apply(far), exact, atol=0.02)


def test_unknown_roots_and_scales_are_refused(weights):
    with pytest.raises(ValueError, match="'mean', an array"):
        Centring.of(weights, LAYERS[0], root="median")
    with pytest.raises(ValueError, match="'each'"):
        Centring.of(weights, LAYERS[0], scale="each")
    with pytest.raises(LayoutMismatch, match=r"base\.weights"):
        Centring.of(weights, LAYERS[0], root=weights[0, :5])
