"""Axis symbols are found where they are certain, and permuting along them is free."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import Layout, Param
from catalog.axis_symbol import split_symbol
from catalog.importing.axes import AxesRule, infer_axes


def params(shapes: dict[str, tuple[int, ...]]) -> list[Param]:
    return [
        Param(name, shape, (), "int64", "counter")
        if name.endswith("num_batches_tracked")
        else Param(name, shape)
        for name, shape in shapes.items()
    ]


def symbols(
    shapes: dict[str, tuple[int, ...]], rule: AxesRule = "certain"
) -> dict[str, tuple[str | None, ...]]:
    return dict(zip(shapes, infer_axes(params(shapes), rule), strict=True))


def nothing(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[None, ...]]:
    return {name: (None,) * len(shape) for name, shape in shapes.items()}


def pair(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    own = {f"{name}.{x}": (size,) for x in ("running_mean", "running_var")}
    return {**pair(name, size), **own, f"{name}.num_batches_tracked": ()}


@st.composite
def chains(draw: st.DrawFn) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """A chain as torch stores it, with the kinds of its modules in forward order."""
    numbered = draw(st.booleans())
    convs = draw(st.lists(st.integers(1, 4), max_size=3))
    dense = draw(
        st.lists(st.integers(1, 4), min_size=0 if len(convs) > 1 else 2, max_size=3)
    )
    shapes: dict[str, tuple[int, ...]] = {}
    kinds, into, k = [], 2, 0
    layers = [("conv", c) for c in convs] + [("linear", c) for c in dense]
    for i, (kind, out) in enumerate(layers):
        name = f"net.{k}" if numbered else f"{'conv' if kind == 'conv' else 'fc'}{i}"
        k += 2
        if kind == "conv":
            shapes |= pair(name, out, into, 2, 2)
        else:
            shapes |= pair(name, out, into * (9 if kinds and "conv" in kinds[-1] else 1))
        kinds.append(kind)
        if i + 1 < len(layers) and draw(st.booleans()):
            shapes |= norm(f"net.{k}" if numbered else f"bn{i}", out)
            kinds[-1] += "+norm"
            k += 1
        into = out
    return shapes, kinds


def forward(
    shapes: dict[str, tuple[int, ...]], kinds: list[str], tensors: dict[str, np.ndarray]
) -> np.ndarray:
    """A chain in numpy: stands in for torch, positions are kept as a flat axis of 9."""
    modules: list[dict[str, np.ndarray]] = []
    last = None
    for name in shapes:
        module, _, leaf = name.rpartition(".")
        if module != last:
            modules.append({})
        modules[-1][leaf], last = tensors[name], module
    left = iter(modules)
    x = np.linspace(-1, 1, 2 * (9 if "conv" in kinds[0] else 1)).reshape(2, -1)
    for i, kind in enumerate(kinds):
        m = next(left)
        if kind.startswith("conv"):  # a different mixing of the positions per kernel tap
            taps = [np.roll(x, s, axis=1) for s in range(4)]
            flat = m["weight"].reshape(*m["weight"].shape[:2], 4)
            x = sum(flat[:, :, t] @ tap for t, tap in enumerate(taps)) + m["bias"][:, None]
        else:
            x = (m["weight"] @ x.reshape(-1) + m["bias"]).reshape(-1, 1)
        if kind.endswith("norm"):
            m = next(left)
            scale = m["weight"] / np.sqrt(np.abs(m["running_var"]) + 1)
            x = (x - m["running_mean"][:, None]) * scale[:, None] + m["bias"][:, None]
        if i + 1 < len(kinds):
            x = np.tanh(x)
    return x


@given(chains(), st.integers(0, 1 << 30))
def test_permuting_along_the_symbols_changes_nothing(
    chain: tuple[dict[str, tuple[int, ...]], list[str]], seed: int
) -> None:
    shapes, kinds = chain
    found = symbols(shapes, "chain")
    assert symbols(shapes) in (found, nothing(shapes))
    assert symbols(shapes, "none") == nothing(shapes)
    rng = np.random.default_rng(seed)
    tensors = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    layout = Layout(
        tuple(
            Param(p.name, p.shape, found[p.name], p.dtype, p.role) for p in params(shapes)
        )
    )
    assert len(layout.symbols) == len(kinds) - 1  # every hidden layer has one
    orders = {s: rng.permutation(n) for s, n in layout.symbols.items()}
    permuted = dict(tensors)
    for param in layout:
        for axis, symbol in enumerate(param.axes):
            if symbol is not None:
                name, block = split_symbol(symbol)
                rows = (orders[name][:, None] * block + np.arange(block)).ravel()
                permuted[param.name] = permuted[param.name].take(rows, axis)
    before, after = (forward(shapes, kinds, t) for t in (tensors, permuted))
    np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-12)


def test_a_cnn_with_batch_norm_and_blocks_of_positions() -> None:
    shapes = pair("conv1", 8, 3, 5, 5) | norm("bn1", 8) | pair("conv2", 4, 8, 3, 3)
    shapes |= pair("fc1", 20, 36) | pair("fc2", 10, 20)
    found = symbols(shapes)
    assert found["conv1.weight"] == ("channels1", None, None, None)
    assert found["bn1.running_var"] == ("channels1",)
    assert found["bn1.num_batches_tracked"] == ()
    assert found["conv2.weight"] == ("channels2", "channels1", None, None)
    assert found["fc1.weight"] == ("hidden3", "channels2*9")
    assert found["fc2.weight"] == (None, "hidden3")
    assert found["fc2.bias"] == (None,)


def test_files_sorted_by_name_give_the_same_symbols() -> None:
    shapes = pair("2", 4, 8) | pair("0", 8, 3) | pair("10", 2, 4)
    ordered = {name: shapes[name] for name in sorted(shapes)}
    assert symbols(ordered) == symbols(shapes)
    assert symbols(ordered)["10.weight"] == (None, "hidden2")


def test_constants_belong_to_no_layer() -> None:
    layers = params(pair("l0", 4, 3) | pair("l1", 2, 4))
    mean = Param("norm_mean", (3,), (), "float64", "constant")
    assert infer_axes([*layers, mean])[:1] == [("hidden1", None)]
    assert infer_axes([*layers, mean])[-1] == (None,)


@pytest.mark.parametrize(
    "shapes",
    [
        pair("layer1.0.conv1", 8, 8, 3, 3) | pair("layer1.0.conv2", 8, 8, 3, 3),
        pair("conv1", 8, 3, 3, 3) | pair("layer1.0.conv1", 8, 8, 3, 3) | pair("fc", 2, 8),
        pair("_f.0", 5, 7) | pair("_f.2", 6, 5) | pair("_i.0", 5, 6) | pair("_i.2", 7, 5),
        pair("blocks.0.fc1", 8, 8) | pair("blocks.1.fc1", 8, 8),
        pair("encoder", 8, 8) | pair("decoder", 8, 8),
        pair("q", 8, 8) | pair("k", 8, 8) | pair("v", 8, 8),
        pair("conv1", 8, 3, 3, 3) | pair("shortcut1", 8, 8, 3, 3) | pair("fc", 2, 8),
        pair("conv1", 8, 3, 3, 3) | pair("conv2", 8, 8, 3, 3) | norm("bn1", 8),
        pair("conv1", 8, 3, 3, 3) | pair("conv2", 8, 4, 3, 3) | pair("fc", 2, 8),
        pair("conv1", 8, 3, 3, 3) | pair("bn1", 8) | pair("conv2", 8, 8, 3, 3),
        pair("fc1", 8, 8) | pair("hidden1", 8, 8) | pair("fc2", 2, 8),
        pair("0", 8, 3) | pair("2", 4, 7),
        pair("0", 8, 3) | {"2.weight_g": (4, 1), "2.weight_v": (4, 8)},
        pair("rnn0", 8, 8) | pair("rnn1", 8, 8),
        pair("0", 8, 3),
        {"weights": (99,)},
        {},
    ],
    ids=lambda shapes: " ".join(dict.fromkeys(n.rpartition(".")[0] for n in shapes)),
)
def test_what_is_not_surely_a_chain_has_no_symbols(
    shapes: dict[str, tuple[int, ...]],
) -> None:
    assert symbols(shapes) == symbols(shapes, "chain") == nothing(shapes)


def weight(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape}


@pytest.mark.parametrize(
    "shapes",
    [
        pair("fc1", 8, 4) | pair("fc2", 8, 8) | pair("fc3", 2, 8),  # a residual sum
        pair("fc1", 8, 8) | pair("fc2", 2, 8),  # a recurrent cell
        pair("fc1", 8, 4) | pair("fc2", 5, 8) | pair("fc3", 8, 5) | pair("fc4", 2, 8),
        pair("fc1", 8, 4) | pair("fc2", 5, 8) | pair("fc3", 4, 5),  # input = output
        pair("conv1", 4, 3, 3, 3) | pair("fc1", 6, 36) | pair("fc2", 36, 6),
        pair("layers.0", 8, 4) | pair("layers.1", 8, 8) | pair("layers.2", 2, 8),
        pair("0", 8, 4) | norm("1", 8) | pair("2", 8, 8) | pair("4", 2, 8),
        pair("0", 6, 1, 3, 3) | pair("2", 6, 6, 3, 3) | pair("4", 1, 6, 3, 3),
        pair("0", 6, 1, 3, 3) | pair("2", 6, 6, 3, 5) | pair("4", 1, 6, 3, 3),
        weight("0", 4, 6, 3, 3) | weight("2", 6, 4, 3, 3),  # transposed, without biases
        weight("0", 4, 6, 3, 3) | pair("3", 5, 24),
    ],
    ids=lambda shapes: " ".join(f"{n[:-7]}{s}" for n, s in shapes.items() if s[1:]),
)
def test_what_may_be_more_than_a_chain_has_symbols_if_it_is_said_to_be_one(
    shapes: dict[str, tuple[int, ...]],
) -> None:
    assert symbols(shapes) == nothing(shapes)
    assert any(symbol for axes in symbols(shapes, "chain").values() for symbol in axes)


@pytest.mark.parametrize(
    "shapes",
    [
        pair("net.0", 8, 8) | pair("net.2", 8, 8) | pair("net.4", 8, 8),
        pair("layers.1", 8, 4) | norm("layers.2", 8) | pair("layers.4", 8, 8),
        pair("0", 6, 1, 3, 3) | pair("2", 8, 6, 3, 3) | pair("5", 8, 72) | pair("7", 8, 8),
        weight("0", 6, 1, 3, 3) | norm("1", 6) | weight("3", 1, 6, 3, 3),
        pair("fc1", 8, 4) | pair("fc2", 6, 8) | pair("fc3", 2, 6),
        pair("conv1", 6, 1, 5, 5) | pair("conv2", 16, 6, 5, 5) | pair("fc1", 120, 400),
    ],
    ids=lambda shapes: " ".join(f"{n[:-7]}{s}" for n, s in shapes.items() if s[1:]),
)
def test_what_can_only_be_a_chain_has_its_symbols(
    shapes: dict[str, tuple[int, ...]],
) -> None:
    assert symbols(shapes) == symbols(shapes, "chain") != nothing(shapes)
