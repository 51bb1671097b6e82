"""Nothing that belongs together stands on both sides, however it hangs together."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import CatalogError
from catalog.storage.splits import split
from probes.judging.folds import COLUMNS, Folds
from probes.judging.kinship import ancestors, branch, families, joined


def table(runs, zoos=None, cells=None, contents=None, splits=None, steps=None):
    n = len(runs)
    zoos = zoos or ["zoo"] * n
    cells = cells or [None] * n
    fixed = splits or [split(run) for run in runs]
    keys = zip(zoos, cells, runs, strict=True)
    by_cell = [split(f"{zoo}\0{cell or run}") for zoo, cell, run in keys]
    values = {
        "run_id": runs,
        "step": steps or list(range(n)),
        "zoo": zoos,
        "cell": cells,
        "content": contents or [None] * n,
        "split_by_run": fixed,
        "split_by_cell": splits or by_cell,
    }
    text = pa.string()
    return pa.table(
        {k: pa.array(v, pa.int64() if k == "step" else text) for k, v in values.items()}
    ).select(COLUMNS)


@st.composite
def catalogues(draw):
    """Runs with checkpoints in zoos and cells, some made from others, some copies."""
    count = draw(st.integers(8, 40))
    runs = [f"run{i}" for i in range(count)]
    parents, fixed = {}, {}
    for i, run in enumerate(runs):
        above = draw(st.lists(st.integers(0, i - 1), max_size=2, unique=True)) if i else []
        if above and draw(st.booleans()):
            parents[run] = [runs[j] for j in above]
            theirs = {fixed[runs[j]] for j in above}
            fixed[run] = theirs.pop() if len(theirs) == 1 else "mixed"
        else:
            fixed[run] = split(run)
    rows = [run for run in runs for _ in range(draw(st.integers(1, 3)))]
    pick = st.sampled_from
    return parents, table(
        rows,
        [f"zoo{int(r[3:]) % 3}" for r in rows],
        [f"cell{int(r[3:]) % 5}" for r in rows],
        [draw(pick([None, None, None, "copy1", "copy2"])) for _ in rows],
        [fixed[r] for r in rows],
    )


def related(one, other, parents, keys):
    a, b = keys["run_id"][one], keys["run_id"][other]
    line_a, line_b = {a, *ancestors(a, parents)}, {b, *ancestors(b, parents)}
    copy = keys["content"][one]
    return bool(line_a & line_b) or (copy is not None and copy == keys["content"][other])


@settings(max_examples=60, deadline=None)
@given(catalogues(), st.sampled_from(["run", "cell", "zoo", "tree"]), st.booleans())
def test_relatives_and_copies_are_never_on_both_sides(drawn, by, dealt):
    parents, rows = drawn
    try:
        folds = Folds.of(
            rows, parents, by, deal=2 if dealt and by in ("run", "cell") else None
        )
    except CatalogError:
        return  # one tree, or an empty side
    keys = {name: rows[name].to_pylist() for name in COLUMNS}
    tested = np.concatenate([fold.test for fold in folds.folds])
    assert len(set(tested.tolist())) == len(tested)
    for fold in folds.folds:
        assert not set(fold.train) & set(fold.test)
        for i in fold.test.tolist():
            for j in fold.train.tolist():
                assert not related(i, j, parents, keys)
                if by == "zoo":
                    assert keys["zoo"][i] != keys["zoo"][j]
        assert not set(folds.groups[fold.train]) & set(folds.groups[fold.test])


@given(catalogues())
def test_checkpoints_of_a_run_are_one_group_for_choices_too(drawn):
    parents, rows = drawn
    folds = (
        Folds.of(rows, parents, "run", deal=2)
        if families(rows["run_id"].to_pylist(), parents).max()
        else None
    )
    if folds is None:
        return
    groups = {}
    for run, group in zip(rows["run_id"].to_pylist(), folds.groups.tolist(), strict=True):
        assert groups.setdefault(run, group) == group


def test_the_fixed_split_is_that_of_the_catalogue():
    rows = table([f"run{i}" for i in range(100)])
    folds = Folds.of(rows, {})
    fixed = np.array(rows["split_by_run"].to_pylist())
    (fold,) = folds.folds
    np.testing.assert_array_equal(np.flatnonzero(fixed == "test"), fold.test)
    np.testing.assert_array_equal(np.flatnonzero(fixed != "test"), fold.train)
    assert not len(folds.left_out)


def test_means_of_parents_on_both_sides_are_left_out():
    runs = ["a", "b", "mean"]
    rows = table(runs, splits=["train", "test", "mixed"])
    folds = Folds.of(rows, {"mean": ["a", "b"]})
    assert folds.left_out.tolist() == [2]
    assert len(set(folds.groups.tolist())) == 3


def test_siblings_are_on_both_sides_only_when_asked_for():
    runs = ["root", *(f"child{i}" for i in range(40))]
    parents = {run: ["root"] for run in runs[1:]} | {"grandchild": ["child0"]}
    rows = table([*runs, "grandchild"], splits=["train"] * 42)
    with pytest.raises(CatalogError, match="--by sibling"):
        Folds.of(rows, parents, "run")
    folds = Folds.of(rows, parents, "sibling")
    assert len(folds.folds[0].test) > 2
    assert folds.groups[1] == folds.groups[41]  # who descends from a child is with it
    assert branch("grandchild", parents) == "child0"


def test_zoos_that_descend_from_one_another_are_held_out_together():
    runs = [f"run{i}" for i in range(6)]
    zoos = ["a", "a", "b", "b", "b_averages", "c"]
    folds = Folds.of(table(runs, zoos), {"run4": ["run2", "run3"]}, "zoo")
    assert [fold.name for fold in folds.folds] == ["a", "b + b_averages", "c"]
    assert folds.strata
    two = Folds.of(table(runs[:4], zoos[:4], ["x", "y", "x", "y"]), {}, "zoo")
    inside = two.inside(two.folds[0])  # one zoo is left: its cells are told apart
    assert len(set(inside.tolist())) == 2


def test_copies_of_tested_networks_are_not_learnt_from():
    runs = [f"run{i}" for i in range(50)]
    contents = [f"net{i % 25}" for i in range(50)]
    rows = table(runs, contents=contents)
    folds = Folds.of(rows, {})
    (fold,) = folds.folds
    assert len(folds.left_out)
    tested = {contents[i] for i in fold.test}
    assert not tested & {contents[i] for i in fold.train}


def test_what_cannot_be_split_says_what_to_do():
    one = table(["a", "a", "a"])
    with pytest.raises(CatalogError, match="--folds 5"):
        Folds.of(one, {})
    with pytest.raises(CatalogError, match="has one: zoo"):
        Folds.of(one, {}, "zoo")
    with pytest.raises(CatalogError, match="number of groups"):
        Folds.of(one, {}, deal=2)
    with pytest.raises(CatalogError, match="60 times"):
        Folds.of(table([f"r{i}" for i in range(60)]), {"r0": ["base"]}, "tree")
    with pytest.raises(CatalogError, match=r"No selected run has recorded .* use --by run"):
        Folds.of(table(["a", "b", "c"]), {"other": ["a"]}, "tree")
    with pytest.raises(CatalogError, match="needs --by run"):
        Folds.of(table(["a", "b"]), {}, "tree", deal=2)
    with pytest.raises(CatalogError, match="--by must be one of"):
        Folds.of(one, {}, "seed")


def test_keys_join_rows_directly_and_through_others():
    assert joined(["a", "b", "c"], [1, 1, 2]).tolist() == [0, 0, 1]
    assert joined([None, None]).tolist() == [0, 1]
    assert families(["x", "y", "z"], {"x": ["r"], "y": ["q"], "q": ["r"]}).tolist() == [
        0,
        0,
        1,
    ]
