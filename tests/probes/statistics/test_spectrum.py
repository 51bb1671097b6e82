import numpy as np
import pytest

import probes.statistics.spectrum
from catalog import Layout, Param
from probes.layers import Dense, layers_of
from probes.statistics.spectrum import SPECTRAL, low_rank_moments, spectral, squares


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (4, 4), (1, 6), (6, 1)])
def test_squares_are_of_singular_values(shape, monkeypatch):
    monkeypatch.setattr(probes.statistics.spectrum, "_BYTES", 1)
    X = np.random.default_rng(0).standard_normal((3, shape[0] * shape[1] + 2))
    expected = np.linalg.svd(X[:, 1:-1].reshape(3, *shape), compute_uv=False)
    found = squares(Dense("w", 1, shape), X)
    np.testing.assert_allclose(np.sqrt(found[:, ::-1]), expected, rtol=1e-6)


def test_what_is_known_of_known_matrices():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    one = np.outer(turn[0], turn[1]) * 3
    X = np.stack([2 * turn, one, np.zeros((8, 8))]).reshape(3, 64)
    found = dict(zip(SPECTRAL, spectral(squares(Dense("w", 0, (8, 8)), X)).T, strict=True))
    np.testing.assert_allclose(found["spectral_norm"], [2, 3, 0], atol=1e-6)
    np.testing.assert_allclose(found["frobenius_norm"], [2 * 8**0.5, 3, 0], atol=1e-6)
    np.testing.assert_allclose(found["stable_rank"], [8, 1, 0], atol=1e-6)
    np.testing.assert_allclose(found["effective_rank"], [8, 1, 0], atol=0.1)
    np.testing.assert_allclose(found["log_det"][[0, 2]], 0, atol=1e-6)
    assert found["log_det"][1] < -5
    assert all(np.isfinite(values).all() for values in found.values())


def test_all_but_norms_ignore_the_scale():
    X = np.random.default_rng(0).standard_normal((4, 60)).astype(np.float32)
    layer = Dense("w", 0, (6, 10))
    small, large = (spectral(squares(layer, scale * X)) for scale in (1e-3, 1e3))
    np.testing.assert_allclose(small[:, 2:], large[:, 2:], rtol=1e-4)


@pytest.mark.parametrize("rank", [1, 3])
def test_updates_are_as_their_products(rank):
    layout = Layout(
        (Param("q.lora_A.weight", (rank, 7)), Param("q.lora_B.weight", (5, rank)))
    )
    (layer,) = layers_of(layout)
    X = np.random.default_rng(0).standard_normal((4, layout.d)).astype(np.float32)
    formed = layer.of(X.astype(np.float64))
    found = squares(layer, X)
    expected = np.linalg.svd(formed, compute_uv=False)[:, :rank]
    np.testing.assert_allclose(np.sqrt(found[:, ::-1]), expected, rtol=1e-4)
    flat = formed.reshape(4, -1)
    told = low_rank_moments(layer, X, found)
    np.testing.assert_allclose(told, np.stack([flat.mean(1), flat.std(1)], 1), rtol=1e-4)
