"""How stable a label is, and tasks whose loss has a floor that nobody knows."""

from math import erf, log

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.phases import PHASES, label_cells

BY_HAND = {"train_loss": 0.1, "mode_connectivity": -0.02, "logit_cka": 0.6}
TEN = float(np.log(10))
PLANTED = [
    (1.2, -0.2, 0.3),
    (0.8, 0.05, 0.5),
    (0.001, -0.1, 0.4),
    (0.002, 0.0, 0.35),
    (0.001, -0.001, 0.9),
]


def table(cells, spread=0.02, seeds=3, **columns):
    """Networks of cells ``(train loss, connectivity, CKA)``, each seed a little off."""
    draw = np.random.default_rng(0)
    n = len(cells) * seeds
    loss, joined, alike = np.repeat(np.array(cells, float), seeds, 0).T
    own = {
        "cell": [f"c{i // seeds}" for i in range(n)],
        "load": np.arange(n) // seeds,
        "train_loss": loss * np.exp(spread * draw.standard_normal(n)),
        "mode_connectivity": joined,
        "mode_connectivity_se": [0.002] * n,
        "logit_cka": alike,
        "logit_cka_se": [0.01] * n,
    }
    return pa.table(own | columns)


@given(
    st.tuples(st.floats(1e-3, 2), st.floats(-0.3, 0.1), st.floats(0, 1)),
    st.tuples(st.floats(1e-3, 0.1), st.floats(1e-3, 0.1)),
)
@settings(max_examples=30)
def test_stability_is_the_chance_that_the_rule_gives_the_label_again(cell, stated):
    """Against the normal distribution function: the metrics are drawn independently."""

    def beyond(value, error, cutoff):
        return 0.5 * (1 + erf((value - cutoff) / error / 2**0.5))

    errors = zip(("mode_connectivity_se", "logit_cka_se"), stated, strict=True)
    columns = {name: pa.array([value] * 3) for name, value in errors}
    columns["train_loss"] = pa.array(cell[0] * np.array([0.7, 1.0, 1.3]))
    found = label_cells(
        table([cell], **columns), chance_loss=TEN, cka_reference=0.2, draws=4000
    )
    cutoffs = found.calibration.cutoffs
    low = 1 - beyond(log(cell[0]), 0.3 / 3**0.5, log(cutoffs.train_loss.value))
    joined = beyond(cell[1], stated[0], min(-0.02, -2 * stated[0]))
    alike = beyond(cell[2], stated[1], cutoffs.logit_cka.value)
    expected = {
        "I": (1 - low) * (1 - joined),
        "II": (1 - low) * joined,
        "III": low * (1 - joined),
        "IV-A": low * joined * (1 - alike),
        "IV-B": low * joined * alike,
    }
    assert abs(found.stability[0] - expected[found.phase[0]]) < 0.04


def test_a_noisy_cell_on_its_side_of_its_own_cutoff_is_rather_stable():
    """A barrier of 0.05 +- 0.04 is none; its draws meet the same cutoff as the cell."""
    cells = [(0.001, -0.05, 0.95), (0.001, -0.06, 0.95)]
    noisy = table(cells, mode_connectivity_se=pa.array([0.04] * 3 + [0.05] * 3))
    found = label_cells(noisy, chance_loss=TEN, cka_reference=0.2)
    assert found.phase.tolist() == ["IV-B", "IV-B"]
    assert (found.stability > 0.7).all()
    assert (found.stability < 0.9).all()


def test_stability_is_unknown_where_an_error_that_decides_is():
    """Two seeds are one pair, which has no error."""
    networks = table([*PLANTED, (0.001, -0.021, 0.9)])
    nothing = pa.nulls(len(networks), pa.float64())
    for name, unknown in (
        ("mode_connectivity_se", [True] * 6),
        ("logit_cka_se", [False, False, False, True, True, False]),
    ):
        at = networks.column_names.index(name)
        found = label_cells(networks.set_column(at, name, nothing), chance_loss=TEN)
        assert found.phase.tolist() == [*PHASES, "III"]
        assert np.isnan(found.stability).tolist() == unknown


def test_seeds_that_disagree_make_a_label_unstable():
    split = table([(0.1, 0.3, 0.9)], seeds=4, train_loss=pa.array([0.02, 0.3, 0.03, 0.1]))
    sure = table([(0.001, 0.3, 0.9)], spread=0.1, seeds=4)
    assert label_cells(split, **BY_HAND).stability[0] < 0.8
    assert label_cells(sure, **BY_HAND).stability[0] == 1
    one, two = (label_cells(split, **BY_HAND, seed=s).stability[0] for s in (1, 1))
    assert one == two


def text_like(levels):
    """Cells of a task whose loss cannot come near 0."""
    return table([(level, 0.0, 0.4 + 0.5 * (i % 2)) for i, level in enumerate(levels)])


def test_where_the_floor_of_the_loss_is_unknown_the_best_cells_stand_for_it():
    networks, chance = text_like(np.linspace(1.5, 3.2, 20)), 3.3
    found = label_cells(networks, chance_loss=chance, interpolation_loss=np.nan)
    anchors = found.calibration.cutoffs.train_loss.anchors
    best = found.calibration.best_train_loss
    assert anchors == {"best level of the zoo": best, "chance": chance}
    cutoff = found.calibration.cutoffs.train_loss.value
    assert cutoff == pytest.approx((best * chance) ** 0.5)
    assert best < cutoff < chance
    assert f"best-fitted cells, {best:.3g}, stands for" in found.calibration.notes[0]
    assert min(found.counts()[name] for name in ("II", "IV-A", "IV-B")) > 0
    assert "No cell has a barrier" in " ".join(found.calibration.lacks)
    zero = label_cells(networks, chance_loss=chance)
    assert zero.counts()["II"] == 20
    hand = label_cells(networks, train_loss=2.0, interpolation_loss=np.nan)
    assert hand.calibration.cutoffs.train_loss.value == 2.0
    assert not any("stands for" in note for note in hand.calibration.notes)


@pytest.mark.parametrize("levels", [(2.9, 3.0, 3.2), (4.0, 5.0, 6.0)])
def test_a_zoo_that_has_learnt_nothing_has_no_fitted_cell(levels):
    found = label_cells(text_like(levels), chance_loss=3.3, interpolation_loss=np.nan)
    assert found.counts()["II"] == 3
    assert "not well below chance, 3.3" in found.calibration.notes[0]
    assert "No cell is fitted" in found.calibration.lacks[0]
