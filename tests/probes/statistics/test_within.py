"""Features of each group on the scale of its own training rows."""

import numpy as np
import pytest

from probes import load, save
from probes.estimators.statistics_probe import StatisticsProbe
from probes.statistics.shaping import SHAPES, Shaping
from probes.statistics.within import Within, numbered


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 3], 20)
    return rng.standard_normal((40, 4)) + 10 * groups[:, None], groups


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_of_a_known_group_depends_on_its_training_rows_alone(rows, shape):
    F, groups = rows
    within = Within.of(F[::2], groups[::2], shape)
    found = within.apply(F, groups)
    for i in (1, 39):
        np.testing.assert_array_equal(within.apply(F[[i]], groups[[i]])[0], found[i])
    own = Shaping.of(F[:20:2], shape)
    np.testing.assert_array_equal(found[:20], own.apply(F[:20]))


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_an_unknown_group_are_compared_with_one_another(rows, shape):
    F, groups = rows
    found = Within.of(F[:20], groups[:20], shape).apply(F, groups)
    np.testing.assert_array_equal(found[20:], Shaping.of(F[20:], shape).apply(F[20:]))


def test_a_fit_is_kept_with_its_groups(rows, tmp_path):
    F, groups = rows
    X = numbered(F, groups.astype(str).tolist(), ["0", "3"])
    y = F[:, 0] - 10 * groups
    probe = StatisticsProbe(described=True, relative="quantile").fit(X[::2], y[::2])
    assert probe.score(X[1::2], y[1::2]) > 0.5
    save(probe, tmp_path / "probe")
    np.testing.assert_array_equal(load(tmp_path / "probe").predict(X), probe.predict(X))


def test_relative_weights_are_refused(rows):
    F, _ = rows
    with pytest.raises(ValueError, match="described=True"):
        StatisticsProbe(relative="quantile").fit(F, F[:, 0])
