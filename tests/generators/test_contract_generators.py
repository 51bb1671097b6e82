"""What every registered generator promises: fitted here to a small population."""

import inspect

import numpy as np
import pyarrow as pa
import pytest

from catalog import CatalogError, Layout, LayoutMismatch, NotFound, Param, Population
from generators.flow.training import Schedule
from generators.registry import generator_named, generators_known, open_generator

KNOWN = generators_known()
QUICK = {
    "schedule": Schedule(iterations=20, batch_size=16, every=10),
    "sizes": {"width": 16, "depth": 1, "embedding": 8},
    "size": 4,
}
"""Settings that make fits short, for the generators that have them."""
LAYOUT = Layout(
    (
        Param("in.weight", (5, 3), ("h", None)),
        Param("in.bias", (5,), ("h",)),
        Param("variance", (5,), ("h",), role="buffer"),
        Param("seen", (), dtype="int64", role="counter"),
        Param("out.weight", (2, 5), (None, "h")),
    )
)


def networks(n=60, seed=0, layout=LAYOUT):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((n, layout.d)).astype(np.float32) + 2
    weights[:, layout.slices["variance"]] **= 2
    table = pa.table(
        {
            "run_id": [f"{seed}-{i:03d}" for i in range(n)],
            "step": [9] * n,
            "zoo": ["z"] * n,
            "lr": [0.1] * n,
            "split_by_run": ["train"] * n,
            "test_accuracy": rng.random(n),
        }
    )
    return Population(weights, layout, table, {"seen": np.arange(n)})


def unfitted(name):
    kind = KNOWN[name]
    own = set(inspect.signature(kind).parameters)
    return kind(**{key: value for key, value in QUICK.items() if key in own})


@pytest.fixture(scope="module")
def fitted():
    known = {}

    def fit(name):
        if name not in known:
            known[name] = unfitted(name).fit(networks(), networks(20, seed=1))
        return known[name]

    return fit


every = pytest.mark.parametrize("name", KNOWN)


def test_the_registry_holds_methods_and_nulls():
    assert {"deepweightflow", "train_noise", "soup", "retrieval"} <= set(KNOWN)


@every
def test_a_generator_is_named_and_documented(name):
    kind = KNOWN[name]
    assert kind.name == name
    assert 10 < len(kind.summary) < 80
    assert kind.__doc__.strip()


@every
def test_samples_are_runs_of_the_same_layout(name, fitted):
    made = fitted(name).sample(7, seed=3)
    assert len(made) == 7
    assert made.layout == fitted(name).training_.layout.widened()
    assert np.isfinite(made.weights).all()
    assert len(set(made["run_id"])) == 7
    assert set(made["source"]) == {"generated"}
    assert set(made["zoo"]) == {"z_generated"}
    assert made["lr"].tolist() == [0.1] * 7
    assert made.extra["seen"].tolist() == [59] * 7 or len(fitted(name).training_) < 60
    assert (made.tensor("variance") > 0).all()  # also behind noise


@every
def test_one_seed_gives_the_same_bytes_and_another_others(name, fitted):
    one, same, other = (fitted(name).sample(5, seed=s) for s in (1, 1, 2))
    assert one.weights.tobytes() == same.weights.tobytes()
    assert one.table.equals(same.table)
    assert (one.weights != other.weights).any(1).any()
    assert not set(one["run_id"]) & set(other["run_id"])


@every
def test_a_fit_is_the_same_twice(name, fitted):
    again = unfitted(name).fit(networks(), networks(20, seed=1))
    assert again.sample(3).weights.tobytes() == fitted(name).sample(3).weights.tobytes()


@every
def test_a_saved_generator_makes_the_same_samples(name, fitted, tmp_path):
    path = tmp_path / "g.safetensors"
    fitted(name).save(path)
    for back in (type(fitted(name)).load(path), open_generator(path)):
        assert back.sample(4, seed=5).table.equals(fitted(name).sample(4, seed=5).table)
        weights = back.training_.weights
        assert weights.tobytes() == fitted(name).training_.weights.tobytes()


@every
def test_what_cannot_be_learned_from_is_refused(name):
    bad = networks()
    bad.weights[3, 1] = np.nan
    with pytest.raises(LayoutMismatch, match="1 of 60 training networks hold values"):
        unfitted(name).fit(bad)
    empty = networks().select([])
    with pytest.raises(CatalogError, match=r"0 runs .* are too few"):
        unfitted(name).fit(empty)
    other = networks(layout=Layout((*LAYOUT.params[:-1], Param("out.weight", (3, 5)))))
    with pytest.raises(LayoutMismatch, match=r"Got 2: 60 x layout .*; 60 x layout"):
        unfitted(name).fit([networks(), other])


@every
def test_what_cannot_be_sampled_is_refused(name, fitted):
    with pytest.raises(CatalogError, match="is not fitted"):
        unfitted(name).sample(1)
    with pytest.raises((CatalogError, NotFound), match=r"no_such|takes no condition"):
        fitted(name).sample(1, condition={"no_such": 1.0})
    with pytest.raises(ValueError, match="Got 0"):
        fitted(name).sample(0)


def test_settings_are_parameters():
    assert generator_named("soup", ["size=4", "aligned=false"]).size == 4
    made = generator_named("deepweightflow", ['schedule={"iterations": 7}'])
    assert made.schedule.iterations == 7
    made = generator_named("deepweightflow", ['conditions=["lr"]', "components=3"])
    assert (made.conditions, made.components) == (["lr"], 3)
    with pytest.raises(NotFound, match=r"No generator 'soop'. Closest: soup"):
        generator_named("soop")
    with pytest.raises(NotFound, match=r"no parameter 'sise'. Closest: size"):
        generator_named("soup", ["sise=4"])
    with pytest.raises(CatalogError, match=r"whole number\. Got 'many'. .*--set size=16"):
        generator_named("soup", ["size=many"])
    with pytest.raises(CatalogError, match=r"NAME=VALUE. Got 'size'"):
        generator_named("soup", ["size"])
