"""Frozen, a canonicaliser gives equal networks one representative."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from catalog import Canonicaliser, CatalogError, Layout, LayoutMismatch, Param, Population
from catalog.alignment import SymmetryBroken, permute, random_permutations, rescale
from catalog.dtypes import Array

LAYOUT = Layout(
    (
        Param("0.weight", (6, 5), ("a", None)),
        Param("0.bias", (6,), ("a",)),
        Param("1.weight", (7, 6), ("b", "a")),
        Param("seen", (), (), "int64", "counter"),
        Param("1.bias", (7,), ("b",)),
        Param("2.weight", (3, 7), (None, "b")),
    )
)
X = np.random.default_rng(1).standard_normal((20, 5)).astype(np.float32)
STRATEGIES = ("reference", "mean", "cycle")


def outputs(weights: Array) -> Array:
    t = LAYOUT.unflatten(weights)
    x = np.maximum(X @ t["0.weight"].transpose(0, 2, 1) + t["0.bias"][:, None], 0)
    x = np.maximum(x @ t["1.weight"].transpose(0, 2, 1) + t["1.bias"][:, None], 0)
    return x @ t["2.weight"].transpose(0, 2, 1)


def tanh_outputs(weights: Array) -> Array:
    t = LAYOUT.unflatten(weights)
    x = np.tanh(X @ t["0.weight"].transpose(0, 2, 1) + t["0.bias"][:, None])
    x = np.maximum(x @ t["1.weight"].transpose(0, 2, 1) + t["1.bias"][:, None], 0)
    return x @ t["2.weight"].transpose(0, 2, 1)


def population(n: int = 12, seed: int = 0, layout: Layout = LAYOUT) -> Population:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((n, layout.d)).astype(np.float32)
    table = pa.table({"run_id": [f"run {i}" for i in range(n)], "step": [7] * n})
    return Population(weights, layout, table, {"seen": np.arange(n)})


def shuffled(some: Population, seed: int = 3) -> Population:
    return permute(some, random_permutations(LAYOUT, len(some), seed=seed))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("balance", [False, True])
def test_equal_networks_have_one_representative_that_computes_the_same(
    strategy: str, balance: bool
) -> None:
    canonicaliser = Canonicaliser(strategy, balance=balance)  # type: ignore[arg-type]
    canonicaliser.fit(population(), check=outputs)
    other = population(40, seed=1)
    found = canonicaliser.transform(other)
    assert found.table is other.table
    assert (
        found.extra["seen"] is other.extra["seen"]
        or (found.extra["seen"] == other.extra["seen"]).all()
    )
    before, after = outputs(other.weights), outputs(found.weights)
    assert np.abs(after - before).max() < 1e-5 * np.abs(before).max()
    equal = shuffled(other)
    if balance:
        scales = np.exp(np.random.default_rng(0).standard_normal((40, 6)))
        weights = rescale(equal.weights, LAYOUT, {"a": scales})
        equal = Population(weights, LAYOUT, equal.table, equal.extra)
    again = canonicaliser.transform(equal)
    assert np.allclose(
        again.weights, found.weights, rtol=1e-4 if balance else 1e-5, atol=1e-5
    )
    assert np.allclose(canonicaliser.transform(found).weights, found.weights, atol=1e-5)
    applied = canonicaliser.symmetries(other)
    assert set(applied.scales) == ({"a", "b"} if balance else set())
    assert np.array_equal(applied.apply(other).weights, found.weights)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_shuffled_copies_of_one_network_become_equal(strategy: str) -> None:
    one = population(1).select([0] * 9)
    found = Canonicaliser(strategy).fit_transform(shuffled(one))  # type: ignore[arg-type]
    assert np.allclose(found.weights, found.weights[0])


def test_mean_and_cycle_bring_networks_closer_than_one_reference() -> None:
    some = population(40)
    apart = {}
    for strategy in STRATEGIES:
        found = Canonicaliser(strategy, seed=2).fit_transform(some).weights
        apart[strategy] = float(((found - found.mean(0)) ** 2).sum())
    before = float(((some.weights - some.weights.mean(0)) ** 2).sum())
    assert apart["cycle"] < apart["mean"] < apart["reference"] < before


def test_the_reference_is_the_row_asked_for_or_drawn_by_the_seed() -> None:
    some = population()
    chosen = Canonicaliser("reference", reference=4).fit(some)
    assert np.array_equal(chosen.reference_, some.weights[4])
    assert np.array_equal(chosen.transform(some).weights[4], some.weights[4])
    drawn = {
        Canonicaliser("reference", seed=s).fit(some).reference_.tobytes() for s in range(9)
    }
    assert 2 < len(drawn) <= 9
    with pytest.raises(ValueError, match=r"a row, from 0 to 11. Got 12"):
        Canonicaliser(reference=12).fit(some)


@pytest.mark.parametrize("balance", [False, ("b",)])
def test_saving_keeps_everything(balance: bool | tuple[str], tmp_path: Path) -> None:
    file, other = tmp_path / "c.safetensors", population(20, seed=1)
    fitted = Canonicaliser("cycle", balance=balance, restarts=1, seed=5).fit(population())
    fitted.save(file)
    loaded = Canonicaliser.load(file)
    expected = fitted.transform(other).weights
    assert np.array_equal(loaded.transform(other).weights, expected)
    assert (loaded.layout_, loaded.scaled_) == (fitted.layout_, fitted.scaled_)
    params = [
        (c.strategy, tuple(c.balance or ()), c.rounds, c.restarts, c.seed, c.reference)
        for c in (loaded, fitted)
    ]
    assert params[0] == params[1]


def test_inferred_symbols_are_tried_or_taken_on_trust() -> None:
    some = population()
    source = pa.array(["trained"] * 11 + ["imported"])
    foreign = replace(some, table=some.table.append_column("source", source))
    with pytest.raises(LayoutMismatch, match="1 of 12 networks were imported"):
        Canonicaliser().fit(foreign)
    ours = Canonicaliser().fit(some).reference_
    for check in (outputs, False):
        found = Canonicaliser().fit(foreign, check=check)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found.reference_, ours)


def test_what_was_rescaled_goes_round() -> None:
    half = tuple(replace(p, dtype="float16") if p.in_vector else p for p in LAYOUT)
    some = population(layout=Layout(half))
    some = replace(some, weights=some.weights.astype(np.float16).astype(np.float32))
    aligned = Canonicaliser(balance=("a", "b")).fit(some)
    once = aligned.transform(some)
    np.testing.assert_allclose(aligned.transform(once).weights, once.weights, rtol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_symbols_of_buffers_alone_stay_in_place(strategy: str) -> None:
    extra = (Param("z", (4,), ("z",), role="buffer"), Param("empty", (0, 5), ("e", None)))
    some = population(layout=Layout((*LAYOUT.params, *extra)))
    found = Canonicaliser(strategy).fit(some).symmetries(some)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.permutations["z"], [range(4)] * 12)


def test_other_files_are_refused(tmp_path: Path) -> None:
    from catalog.formats.format import Tensor
    from catalog.formats.safetensors_file import write_file

    fitted = Canonicaliser().fit(population())
    fitted.save(tmp_path / "good")
    values = Tensor(fitted.reference_, "float32")
    from catalog.formats.safetensors_file import read_header

    about = json.loads(read_header(tmp_path / "good").metadata["canonicaliser"])
    cases = {
        "holds no canonicaliser": ({"reference": values}, {}),
        "written by a newer version": (
            {"reference": values},
            {"canonicaliser": json.dumps({**about, "version": 99})},
        ),
        r"reference has shape \(2,\)": (
            {"reference": Tensor(np.zeros(2, np.float32), "float32")},
            {"canonicaliser": json.dumps(about)},
        ),
    }
    for message, (tensors, metadata) in cases.items():
        with (tmp_path / "bad").open("wb") as file:
            write_file(file, tensors, metadata)
        with pytest.raises(CatalogError, match=message):
            Canonicaliser.load(tmp_path / "bad")


def test_wrong_symmetries_are_not_used() -> None:
    some = population()
    with pytest.raises(
        SymmetryBroken, match=r"Rescaling .* 'a' .*those of \['b'\] that are"
    ):
        Canonicaliser(balance=True).fit(some, check=tanh_outputs)
    with pytest.raises(
        ValueError, match=r"Pass check=.*vouch for the units: balance=\('a', 'b'\)"
    ):
        Canonicaliser(balance=True).fit(some)
    Canonicaliser(balance=("b",)).fit(some, check=tanh_outputs)
    tied = Layout(
        tuple(
            Param(p.name, p.shape, (None,), p.dtype, p.role) if p.name == "1.bias" else p
            for p in LAYOUT
        )
    )
    wrong = Population(some.weights, tied, some.table, some.extra)
    with pytest.raises(SymmetryBroken, match=r"'b' changes .* 1.weight, 2.weight"):
        Canonicaliser().fit(wrong, check=outputs)


def test_what_cannot_be_fitted_or_transformed_is_refused() -> None:
    some = population()
    with pytest.raises(ValueError, match=r"strategy must be one of .* Got 'median'"):
        Canonicaliser("median").fit(some)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"such as \('a',\). Got 'a'"):
        Canonicaliser(balance="a").fit(some)
    with pytest.raises(ValueError, match="not fitted"):
        Canonicaliser().transform(some)
    with pytest.raises(LayoutMismatch, match="no networks"):
        Canonicaliser().fit(some.select([]))
    broken = population()
    broken.weights[3, 0] = np.inf
    fitted = Canonicaliser().fit(some)
    for call in (fitted.transform, Canonicaliser().fit):
        with pytest.raises(LayoutMismatch, match=r"1 of 12 networks .* first run 'run 3'"):
            call(broken)
    other = Layout((*LAYOUT.params[:-1], Param("2.weight", (4, 7), (None, "b"))))
    message = r"'2.weight' \(4, 7\) float32 parameter, expected '2.weight' \(3, 7\)"
    with pytest.raises(LayoutMismatch, match=message):
        fitted.transform(population(layout=other))
    assert len(fitted.transform(some.select([]))) == 0


def test_rescaled_tensors_of_16_bits_become_float32() -> None:
    params = (Param(p.name, p.shape, p.axes, "float16") for p in LAYOUT if p.in_vector)
    layout = Layout(tuple(params))
    some = population()
    half = some.weights.astype(np.float16).astype(np.float32)
    narrow = Population(half, layout, some.table)
    kept = Canonicaliser().fit_transform(narrow)
    assert kept.layout == layout
    assert kept.state_dict(0)["0.weight"].dtype == np.float16
    even = Canonicaliser(balance=("a",)).fit_transform(narrow)
    assert even.state_dict(0)["0.weight"].dtype == np.float32
