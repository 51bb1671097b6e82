"""A run's configuration decides its identity."""

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import NotFound
from zoo.run import Run

RUN = Run("zoo", "digits", {"name": "mlp", "sizes": (64, 8, 10)}, 10, (0, 10))
RUNS = st.builds(
    replace,
    st.just(RUN),
    lr=st.floats(0, 10),
    momentum=st.floats(0, 1),
    weight_decay=st.floats(0, 1),
    seed=st.integers(0, 2**63),
    batch_size=st.integers(1, 1 << 20),
    order_seed=st.none() | st.integers(0, 9),
    classes=st.none() | st.permutations(range(4)).map(tuple),
    label_map=st.none() | st.permutations(range(4)).map(tuple),
    init_from=st.none() | st.tuples(st.text("0123456789abcdef"), st.integers(0, 9)),
    transform=st.sampled_from(["identity", "rot90", "permute:3"]),
    cell=st.text(),
)
OTHER = {
    "zoo": "other", "task": "usps", "architecture": {"name": "mlp", "sizes": (64, 9, 10)},
    "steps": 11, "checkpoints": (0, 5, 10), "optimizer": "adam", "schedule": "cosine",
    "transform": "rot90", "classes": (1, 0), "label_map": (1, 0), "cell": "a",
    "init_from": ("f00", 3), "load_axis": "lr", "temperature_axis": "lr",
    "augment": "crop",
}  # fmt: skip


@given(RUNS)
def test_a_run_survives_json(run):
    back = Run.from_config(json.loads(json.dumps(run.config())))
    assert back.run_id("data") == run.run_id("data")
    assert replace(back, architecture=run.architecture) == run


@pytest.mark.parametrize("field", [field.name for field in fields(Run)])
def test_every_field_is_part_of_the_identity(field):
    value = OTHER.get(field)
    if value is None:
        value = (getattr(RUN, field) or 0) + (1 if field != "momentum" else -0.5)
    assert replace(RUN, **{field: value}).run_id("data") != RUN.run_id("data")


def test_fields_that_came_later_leave_the_identity_of_runs_that_do_not_use_them():
    assert RUN.run_id("data") == "adb3eab02d988129f6a50db5c069234c"
    assert "beta" in replace(RUN, beta=2).config()
    assert {"beta", "augment"}.isdisjoint(RUN.config())


def test_whole_and_real_numbers_are_one_configuration():
    assert replace(RUN, lr=1).run_id("data") == replace(RUN, lr=1.0).run_id("data")


def test_the_data_are_part_of_the_identity():
    assert RUN.run_id("data") != RUN.run_id("other data")


@pytest.mark.parametrize("purpose", ["init", "order", "subset", "noise"])
def test_a_purpose_without_a_seed_takes_the_runs(purpose):
    run = replace(RUN, seed=5)
    assert run.seed_for(purpose) == 5
    assert replace(run, **{f"{purpose}_seed": 0}).seed_for(purpose) == 0


@pytest.mark.parametrize(
    ("field", "value", "bound"),
    [
        ("batch_size", 0, "at least 1"),
        ("steps", -1, "at least 0"),
        ("lr", -0.1, "at least 0"),
        ("lr", float("nan"), "at least 0"),
        ("momentum", 1.5, "from 0 to 1"),
        ("weight_decay", -1, "at least 0"),
        ("label_noise", 1.01, "from 0 to 1"),
        ("init_scale", -2.0, "at least 0"),
        ("train_evaluated", 0, "at least 1"),
    ],
)
def test_a_value_out_of_bounds_is_named_with_its_bound(field, value, bound):
    with pytest.raises(ValueError, match=f"The {field} parameter .* {bound}. Got {value}"):
        replace(RUN, **{field: value})


@pytest.mark.parametrize("checkpoints", [(), (5, 0), (0, 0), (-1, 5), (0, 11)])
def test_checkpoints_are_increasing_steps_of_the_run(checkpoints):
    with pytest.raises(ValueError, match=r"increasing steps from 0 to 10. Got"):
        replace(RUN, checkpoints=checkpoints)


def test_a_class_stands_once():
    with pytest.raises(ValueError, match=r"classes lists a class twice: \(1, 2, 1\)"):
        replace(RUN, classes=(1, 2, 1))


@pytest.mark.parametrize("field", ["optimizer", "schedule", "transform"])
def test_unknown_names_are_refused_when_the_run_is_made(field):
    with pytest.raises(NotFound, match=f"No {field} 'nonsense'"):
        replace(RUN, **{field: "nonsense"})
