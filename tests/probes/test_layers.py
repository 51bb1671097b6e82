import numpy as np
import pytest

from catalog import Layout, LayoutMismatch, NotFound, Param
from probes.layers import LowRank, chosen_layers, layers_of

ADAPTER = Layout(
    (
        Param("q.lora_A.weight", (2, 5)),
        Param("q.lora_B.weight", (4, 2)),
        Param("conv", (6, 3, 2, 2)),
        Param("bias", (6,)),
    )
)


def test_factors_pair_up_and_a_filter_is_a_row():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3, ADAPTER.d), np.float32)
    pair, conv = layers_of(ADAPTER)
    assert isinstance(pair, LowRank)
    assert (pair.name, pair.shape, pair.rank) == ("q.weight", (4, 5), 2)
    tensors = ADAPTER.unflatten(X)
    product = tensors["q.lora_B.weight"] @ tensors["q.lora_A.weight"]
    np.testing.assert_array_equal(pair.of(X), product)
    np.testing.assert_array_equal(conv.of(X)[:, 4], tensors["conv"][:, 4].reshape(3, -1))
    assert conv.of(X).base is not None


def test_vectors_are_layers_when_asked_for():
    assert [layer.name for layer in chosen_layers(ADAPTER, "bias", ADAPTER.d)] == ["bias"]
    assert [layer.name for layer in layers_of(ADAPTER)] == ["q.weight", "conv"]


def test_unknown_layers_and_wrong_layouts_are_refused():
    with pytest.raises(NotFound, match="conv"):
        chosen_layers(ADAPTER, "conf", ADAPTER.d)
    with pytest.raises(LayoutMismatch, match=r"layout=population\.layout"):
        chosen_layers(ADAPTER, None, 7)
    with pytest.raises(LayoutMismatch, match="cannot be located"):
        chosen_layers(None, "conv", 7)
