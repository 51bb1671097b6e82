"""Trees of a stranger: the same numbers as LightGBM, or an error before it sees them."""

import re

import numpy as np
import pytest

from probes.statistics.boosting import Boosting
from probes.statistics.trees_text import checked_trees

lightgbm = pytest.importorskip("lightgbm")


def made(labels, features, constant=False):
    rng = np.random.default_rng(0)
    F = rng.standard_normal((120, features))
    y = F[:, :1] > 0 if labels else 3 * F[:, :1] + rng.standard_normal((120, 1))
    y = np.ones((120, 1)) if constant else y.astype(float)
    return F, Boosting.of(F, y, np.arange(120), labels, 0).texts[0]


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("features", [1, 4])
def test_what_is_written_again_predicts_the_same_bits(labels, features):
    F, text = made(labels, features)
    F[:3, 0] = [np.nan, np.inf, -np.inf]
    again = checked_trees(text, features)
    ours, theirs = (
        lightgbm.Booster(model_str=t).predict(F, raw_score=True) for t in (again, text)
    )
    assert (ours == theirs).all()
    assert checked_trees(again, features) == again


def test_a_tree_without_splits_is_one():
    F, text = made(False, 2, constant=True)
    assert (lightgbm.Booster(model_str=checked_trees(text, 2)).predict(F) == 1).all()


@pytest.fixture(scope="module")
def text():
    return made(True, 3)[1]


def first(key, change):
    """Change the first number of the first line of a tree that has several."""
    return lambda text: re.sub(rf"\n{key}=\S+(?= )", f"\n{key}={change}", text, count=1)


@pytest.mark.parametrize(
    "change",
    [
        *(
            first("split_feature", v)
            for v in ("3", "-1", "2147483647", "99999999999999", "1.5")
        ),
        *(first("left_child", v) for v in ("0", "99", "-99", "-2147483648", "x", "")),
        *(first("right_child", v) for v in ("0", "5000000", "-1")),
        *(first("decision_type", v) for v in ("1", "3", "255")),
        *(first("threshold", v) for v in ("nan", "inf", "1e999", "0x10", "1 2", "")),
        first("leaf_value", "nan"),
        lambda t: re.sub(r"num_leaves=\d+", "num_leaves=1000000000", t, count=1),
        lambda t: re.sub(r"num_leaves=\d+", "num_leaves=0", t, count=1),
        lambda t: re.sub(r"num_leaves=\d+", "num_leaves=-1", t, count=1),
        lambda t: t.replace("num_cat=0", "num_cat=1", 1),
        lambda t: t.replace("is_linear=0", "is_linear=1", 1),
        lambda t: t.replace("max_feature_idx=2", "max_feature_idx=7"),
        lambda t: t.replace("num_class=1", "num_class=2", 1),
        lambda t: t.replace("objective=binary sigmoid:1", "objective=custom"),
        lambda t: t.replace("Tree=1\n", "Tree=7\n"),
        lambda t: t.replace("version=v4", "version=v3"),
        lambda t: t.replace("tree\n", "", 1),
        lambda t: t[: len(t) // 3],
        lambda t: "",
    ],
)
def test_impossible_numbers_are_refused(text, change):
    changed = change(text)
    assert changed != text
    with pytest.raises(
        ValueError, match=r"booster does not hold|invalid literal|could not"
    ):
        checked_trees(changed, 3)


def test_what_is_no_tree_is_left_out(text):
    evil = text.replace("[num_machines: 1]", "[num_machines: 9]\n[machines: 10.0.0.1]")
    assert evil != text
    assert "machines" not in checked_trees(evil, 3)
