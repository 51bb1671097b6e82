"""A recipe is a grid, expanded into runs."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import CatalogError, NotFound
from zoo.architectures import ARCHITECTURES
from zoo.recipe import Axis, Draw, Recipe, spread_runs
from zoo.recipes import RECIPES, recipe_from
from zoo.run import Run
from zoo.tasks import TASKS

GRID = Recipe(
    name="grid",
    summary="a grid",
    paper="none",
    cost="seconds",
    task="digits",
    architecture="mlp",
    load=Axis("width", (2, 3, 5)),
    temperature=Axis("lr", (0.01, 0.1)),
    seeds=range(4),
    epochs=2,
    checkpoints=(0.0, 0.5, 1.0),
    settings={"batch_size": 50},
)


def test_every_cell_and_seed_is_a_run(digits):
    runs = GRID.runs(digits)
    cells = {(run.width, run.lr, run.seed) for run in runs}
    assert len(runs) == GRID.networks == len(cells) == 24
    assert cells == {(w, r, s) for w in (2, 3, 5) for r in (0.01, 0.1) for s in range(4)}
    assert Counter(run.cell for run in runs) == dict.fromkeys({r.cell for r in runs}, 4)
    assert all((run.load, run.temperature) == (run.width, run.lr) for run in runs)
    assert {(run.load_axis, run.temperature_axis) for run in runs} == {("width", "lr")}
    assert {run.architecture["sizes"][1] for run in runs} == {2, 3, 5}


def test_ids_are_distinct_and_stable(digits):
    ids = [run.run_id(digits.fingerprint) for run in GRID.runs(digits)]
    assert ids == [run.run_id(digits.fingerprint) for run in GRID.runs(digits)]
    assert len(set(ids)) == len(ids)


def test_the_size_of_the_grid_does_not_change_its_runs(digits):
    small = replace(GRID, seeds=(2,), load=Axis("width", (3,)))
    ids = {run.run_id("data") for run in GRID.runs(digits)}
    assert {run.run_id("data") for run in small.runs(digits)} < ids


@given(st.floats(0.01, 9), st.integers(1, 200), st.none() | st.integers(200, 1200))
def test_epochs_are_passes_over_the_runs_own_samples(digits, epochs, batch, samples):
    settings = {"batch_size": batch, "train_samples": samples}
    runs = replace(GRID, epochs=epochs, settings=settings).runs(digits)
    per_epoch = (samples or digits.samples("train")) // batch
    assert {run.steps for run in runs} == {round(epochs * per_epoch)}


def test_epochs_of_a_class_subset_are_passes_over_the_subset(digits):
    varied = replace(GRID, vary=(Axis("classes", ((0, 1), (2, 3, 4, 5))),))
    for run in varied.runs(digits):
        size = sum((digits.y["train"] == k).sum() for k in run.classes)
        assert run.steps == 2 * (size // 50)
        assert run.architecture["sizes"][-1] == len(run.classes)


def test_checkpoints_are_shares_of_the_length(digits):
    recipe = replace(GRID, epochs=None, steps=30, checkpoints=(1.0, 0.0, 0.1, 0.101))
    assert {run.checkpoints for run in recipe.runs(digits)} == {(0, 3, 30)}


def test_bytes_are_those_of_all_checkpoints(digits):
    sizes = [64 * w + w + w * w + w + 10 * w + 10 for w in (2, 3, 5)]
    assert GRID.bytes == 4 * 3 * 8 * sum(sizes)
    assert [layout.d for layout in GRID.layouts()] == sizes


def test_values_that_are_no_numbers_have_their_place_as_position(digits):
    axis = Axis("transform", ("identity", "rot90", "negate"))
    runs = replace(GRID, temperature=axis).runs(digits)
    assert {(run.transform, run.temperature) for run in runs} == {
        ("identity", 0.0), ("rot90", 1.0), ("negate", 2.0),
    }  # fmt: skip


def test_further_axes_are_part_of_the_cell(digits):
    runs = replace(GRID, vary=(Axis("momentum", (0.0, 0.9)),)).runs(digits)
    assert len(runs) == 48
    assert runs[1].cell == "width=2 lr=0.01 momentum=0.9"


def test_every_parent_is_a_start(digits):
    child = replace(GRID, init_from="zoo = 'grid'")
    parents = [("a", 10), ("b", 10), ("b", 20)]
    runs = child.runs(digits, parents)
    assert len(runs) == 3 * child.networks
    assert Counter(run.init_from for run in runs) == dict.fromkeys(parents, 24)
    assert len({run.run_id("data") for run in runs}) == len(runs)
    with pytest.raises(CatalogError, match=r"the catalogue has none. Train them first"):
        child.runs(digits)


DRAWS = (
    Draw("classes", tuple(range(10)), count=5),
    Draw("schedule", ("constant", "linear", "cosine")),
    Draw("epochs", (1, 2)),
)


def test_every_run_draws_for_itself_and_the_same_again(digits):
    recipe = replace(GRID, epochs=None, draws=DRAWS, seeds=range(50))
    runs = recipe.runs(digits, [("a", 1), ("b", 1)])
    halves = {run.classes for run in runs}
    assert all(sorted(set(half)) == list(half) and len(half) == 5 for half in halves)
    assert len(halves) > 80
    assert {run.schedule for run in runs} == {"constant", "linear", "cosine"}
    assert Counter(c for run in runs for c in run.classes).keys() == set(range(10))
    for run in runs:
        size = sum((digits.y["train"] == k).sum() for k in run.classes)
        assert run.steps in (size // 50, 2 * (size // 50))
    assert runs == recipe.runs(digits, [("a", 1), ("b", 1)])
    assert recipe.layouts()[0].d == 64 * 2 + 2 + 2 * 2 + 2 + 5 * 2 + 5


def test_a_draw_changes_no_other(digits):
    fewer = replace(GRID, draws=DRAWS[:1]).runs(digits)
    more = replace(GRID, draws=(DRAWS[1], DRAWS[0])).runs(digits)
    assert [run.classes for run in fewer] == [run.classes for run in more]


def test_draws_are_even():
    draw = Draw("classes", tuple(range(8)), count=4)
    counts = Counter(c for seed in range(2_000) for c in draw.of(seed))
    assert all(abs(count - 1_000) < 100 for count in counts.values())


@pytest.mark.parametrize("steps", [None, 10])
@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 1201},
        {"train_samples": 1201},
        {"batch_size": 64, "train_samples": 63},
        {"batch_size": 200, "classes": (0,)},
    ],
)
def test_a_batch_that_the_data_cannot_fill_is_refused(digits, settings, steps):
    epochs = None if steps else 1
    recipe = replace(GRID, settings=settings, steps=steps, epochs=epochs)
    message = "Recipe 'grid', cell 'width=2 lr=0.01': a batch of .* is not possible"
    with pytest.raises(CatalogError, match=message):
        recipe.runs(digits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 1, "steps": 10}, "needs either epochs or steps"),
        ({"epochs": None}, "needs either epochs or steps"),
        ({"seeds": ()}, "has no seeds"),
        ({"name": "../grid"}, r"lower-case letters, .* Got '../grid'"),
        ({"width": 8}, "needs either a width or an axis called 'width'"),
        ({"load": Axis("momentum", (0.1,))}, "needs either a width or an axis"),
        ({"load": Axis("lr", (0.1,)), "width": 3}, "varies the same field twice"),
        ({"vary": (Axis("lr", (0.1,)),)}, "varies the same field twice"),
        ({"draws": (Draw("lr", (0.1,)),)}, "varies the same field twice"),
        ({"draws": (Draw("epochs", (1,)),)}, "needs either epochs or steps"),
        ({"draws": (Draw("steps", (1,)),)}, r"Draws .* must be among .*Got \['steps'\]"),
        ({"settings": {"lr": 0.1}}, r"both sets and varies \['lr'\]"),
        ({"settings": {"rate": 0.1}}, r"must be among .*'lr'.* Got \['rate'\]"),
        ({"settings": {"checkpoints": (0,)}}, r"Got \['checkpoints'\]"),
        ({"settings": {"steps": 3}}, r"Got \['steps'\]"),
        ({"settings": {"seed": 3}}, r"Got \['seed'\]"),
        ({"settings": {"load": 3.0, "width": 3}}, r"Got \['load', 'width'\]"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(GRID, **change)


@pytest.mark.parametrize("name", ["learning_rate", "task", "steps", "load", "seed"])
def test_an_axis_is_a_field_that_a_recipe_may_vary(name):
    with pytest.raises(
        ValueError, match=rf"An axis must be one of \[.*'lr'.*\]. Got '{name}'"
    ):
        Axis(name, (1,))


@pytest.mark.parametrize("count", [0, 4])
def test_a_draw_takes_some_of_its_values(count):
    with pytest.raises(ValueError, match=f"from 1 to 3, .* Got {count}"):
        Draw("classes", (0, 1, 2), count)
    with pytest.raises(ValueError, match="Draw 'lr' has no values"):
        Draw("lr", ())


def test_an_axis_has_values():
    with pytest.raises(ValueError, match="Axis 'lr' has no values"):
        Axis("lr", ())


@pytest.mark.parametrize(
    ("find", "name", "message"),
    [
        (RECIPES, "digits_mlp_phase", "No recipe .* Closest: digits_mlp_phases"),
        (ARCHITECTURES, "cnn", "No architecture 'cnn'. Closest: cnn_small"),
        (TASKS, "fashionmnist", "No task 'fashionmnist'. Closest: fashion_mnist"),
    ],
)
def test_an_unknown_name_is_answered_with_the_closest(find, name, message):
    with pytest.raises(NotFound, match=message):
        find[name]


def test_a_recipe_survives_json(digits):
    recipe = replace(
        GRID,
        vary=(Axis("classes", ((0, 1, 2), (3, 4, 5))),),
        settings={"label_map": (2, 1, 0), "batch_size": 20},
        options={"depth": 1, "activation": "tanh"},
        seeds=range(3),
        draws=(Draw("momentum", (0.5, 0.9)), Draw("augment", ("none", "flip"))),
    )
    back = recipe_from(json.loads(json.dumps(recipe.to_json())))
    assert back.runs(digits) == recipe.runs(digits)
    assert replace(back, seeds=range(3)) == recipe
    assert recipe_from("digits_mlp_phases") is RECIPES["digits_mlp_phases"]


def numbered(seeds, cells):
    run = Run("zoo", "digits", {}, 0, (0,))
    return [replace(run, seed=s, cell=str(c)) for s in range(seeds) for c in range(cells)]


@given(st.integers(1, 5), st.integers(1, 30), st.integers(1, 200))
def test_a_limit_fills_seed_after_seed_and_keeps_what_a_smaller_one_took(
    seeds, cells, limit
):
    runs = numbered(seeds, cells)
    chosen = [(run.seed, run.cell) for run in spread_runs(runs, limit)]
    assert len(set(chosen)) == len(chosen) == min(limit, len(runs))
    whole, rest = divmod(len(chosen), cells)
    expected = {seed: cells for seed in range(whole)} | ({whole: rest} if rest else {})
    assert Counter(seed for seed, _ in chosen) == expected
    fewer = {(run.seed, run.cell) for run in spread_runs(runs, max(1, limit // 2))}
    assert fewer <= set(chosen)


@pytest.mark.parametrize("limit", [6, 12, 24, 36])
def test_a_limit_favours_no_row_or_column_of_the_grid(digits, limit):
    grid = RECIPES["digits_mlp_phases"]
    chosen = spread_runs(grid.runs(digits), limit)
    for axis in (grid.load, grid.temperature):
        counts = Counter(getattr(run, axis.name) for run in chosen)
        share = limit / len(axis.values)
        assert all(abs(counts[value] - share) <= 1.5 for value in axis.values)


def test_no_limit_takes_all():
    assert spread_runs(numbered(2, 3), None) == numbered(2, 3)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit):
    with pytest.raises(CatalogError, match=f"--limit must be at least 1. Got {limit}"):
        spread_runs(numbered(2, 3), limit)


def test_identities_are_the_same_for_ever(digits):
    """Goldens: if this fails, finished runs would be trained again."""
    run = RECIPES["digits_mlp_batch_phases"].runs(digits)[0]
    assert digits.fingerprint == "38f039f086a19ea0075f85f5d43439a0"
    assert run.run_id(digits.fingerprint) == "d0aee26908ac2b075156ae16204276c3"


def test_one_against_the_rest_has_two_outputs_and_epochs_of_its_own(digits):
    axis = Axis("one_vs_rest", (0, 7))
    recipe = replace(GRID, temperature=axis, settings={"batch_size": 20})
    for run in recipe.runs(digits):
        per_epoch = 2 * (digits.y["train"] == run.one_vs_rest).sum() // 20
        assert run.steps == 2 * per_epoch
        assert run.architecture["sizes"][-1] == 2
    assert recipe.layouts()[0].d == 64 * 2 + 2 + 2 * 2 + 2 + 2 * 2 + 2
