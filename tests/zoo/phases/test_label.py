"""The rule, its calibration and what doubts it, on tables whose phases are planted."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import CatalogError
from zoo.phases import (
    PHASES,
    agreement,
    cell_means,
    contiguity,
    find_cutoffs,
    label_cells,
)

SEEDS = 3
PLANTED = {
    "I": (1.2, -0.2, 0.3),
    "II": (0.8, 0.05, 0.5),
    "III": (0.001, -0.1, 0.4),
    "IV-A": (0.002, 0.0, 0.35),
    "IV-B": (0.001, -0.001, 0.9),
}
BY_HAND = {"train_loss": 0.1, "mode_connectivity": -0.02, "logit_cka": 0.6}
TEN = float(np.log(10))


def table(cells, spread=0.02, seeds=SEEDS, **columns):
    """Networks of cells ``(train loss, connectivity, CKA)``, each seed a little off."""
    draw = np.random.default_rng(0)
    rows = []
    for i, (loss, joined, alike) in enumerate(cells):
        for seed in range(seeds):
            rows.append(
                {
                    "cell": f"c{i}",
                    "step": 10,
                    "load": float(i),
                    "temperature": 1.0,
                    "seed": seed,
                    "status": "finished",
                    "diverged_step": None,
                    "train_loss": loss * np.exp(spread * draw.standard_normal()),
                    "mode_connectivity": joined,
                    "mode_connectivity_se": 0.002,
                    "logit_cka": alike,
                    "logit_cka_se": 0.01,
                    "hessian_trace": 100 * loss,
                }
            )
    found = pa.Table.from_pylist(rows)
    found = found.set_column(
        found.column_names.index("diverged_step"),
        "diverged_step",
        found["diverged_step"].cast(pa.int64()),
    )
    for name, values in columns.items():
        found = found.set_column(found.column_names.index(name), name, values)
    return found


def changed(found, row, **values):
    rows = found.to_pylist()
    rows[row] |= values
    return pa.Table.from_pylist(rows, schema=found.schema)


def test_planted_phases_are_found():
    found = label_cells(table(PLANTED.values()), chance_loss=TEN)
    assert found.phase.tolist() == list(PHASES) == list(PLANTED)
    assert (found.scores.argmax(0) == np.arange(5)).all()
    assert (found.stability == 1).all()
    assert found.calibration.lacks == ()
    assert found.counts() == {**dict.fromkeys(PHASES, 1), "unmeasured": 0}


def test_the_distance_is_counted_in_the_uncertainty_of_the_nearest_metric():
    cell = (0.001, 0.5, 0.63)
    found = label_cells(table([cell], spread=0), **BY_HAND)
    scale = found.calibration.cutoffs.logit_cka.scale
    np.testing.assert_allclose(found.distance, 0.03 / np.hypot(scale, 0.01))
    assert found.boundary.tolist() == ["logit_cka"]
    high = label_cells(table([(0.2, 0.5, 0.63)], spread=0), **BY_HAND)
    assert high.boundary.tolist() == ["train_loss"]  # CKA parts nothing up there
    assert high.distance[0] < 0


numbers = st.tuples(st.floats(1e-6, 5), st.floats(-0.9, 0.5), st.floats(0, 1))


@given(st.lists(numbers, min_size=1, max_size=6), st.permutations(range(18)))
@settings(max_examples=25)
def test_scores_sum_to_one_and_the_order_of_rows_is_nothing(cells, order):
    networks = table(cells)
    found = label_cells(networks, chance_loss=TEN, draws=5)
    np.testing.assert_allclose(found.scores.sum(0), 1)
    assert (found.scores >= 0).all()
    assert set(found.phase) <= set(PHASES)
    rows = [i for i in order if i < len(networks)]
    again = label_cells(networks.take(rows), chance_loss=TEN, draws=5)
    assert again.phase.tolist() == found.phase.tolist()
    np.testing.assert_allclose(again.distance, found.distance, rtol=1e-9, atol=1e-9)


@given(numbers, st.floats(1.01, 100))
@settings(max_examples=40)
def test_a_lower_train_loss_never_under_fits_more(cell, factor):
    lower = (cell[0] / factor, *cell[1:])
    found = label_cells(table([cell, lower], spread=0), **BY_HAND, draws=2)
    high = found.scores[:2].sum(0)
    assert high[1] <= high[0] + 1e-12
    if found.phase[0] in PHASES[2:]:
        assert found.phase[1] == found.phase[0]


def test_a_dead_neighbour_changes_no_bit():
    cells = cell_means(table(PLANTED.values()))
    calibration = find_cutoffs(cells, chance_loss=TEN)
    networks = table(PLANTED.values())
    clean = label_cells(networks, calibration=calibration)
    for row in range(3):
        networks = changed(networks, row, train_loss=np.nan, mode_connectivity=np.inf)
    beside = label_cells(networks, calibration=calibration)
    assert beside.phase[0] == "unmeasured"
    for name in ("confidence", "distance", "stability"):
        assert (getattr(beside, name)[1:] == getattr(clean, name)[1:]).all()


@pytest.mark.parametrize(
    ("rows", "values", "reason"),
    [
        (range(3), {"status": "diverged"}, "diverged: 3 of 3 seeds"),
        (range(2), {"status": "diverged", "diverged_step": 10}, "diverged: 2 of 3 seeds"),
        (range(2), {"train_loss": np.nan}, "one seed only"),
        (range(3), {"train_loss": np.inf}, "no finite train_loss"),
        (range(3), {"train_loss": None}, "no finite train_loss"),
        (range(3), {"mode_connectivity": None}, "no finite mode_connectivity"),
        (range(3), {"mode_connectivity": np.nan}, "no finite mode_connectivity"),
        (range(3), {"logit_cka": np.inf}, "no finite logit_cka"),
    ],
)
def test_what_is_unmeasured_says_why(rows, values, reason):
    networks = table([PLANTED["IV-B"], *PLANTED.values()])
    for row in rows:
        networks = changed(networks, row, **values)
    found = label_cells(networks, chance_loss=TEN)
    assert found.phase.tolist() == ["unmeasured", *PHASES]
    assert found.reason.tolist() == [reason, *[""] * 5]
    for name in ("confidence", "distance", "stability"):
        assert np.isnan(getattr(found, name)).tolist() == [True, *[False] * 5]


def test_a_network_counts_until_it_diverges():
    networks = changed(table([PLANTED["I"]]), 0, status="diverged", diverged_step=11)
    assert cell_means(networks).seeds.tolist() == [3]
    networks = changed(networks, 0, diverged_step=10)
    assert cell_means(networks).seeds.tolist() == [2]


def test_where_loss_or_barrier_decide_cka_is_not_needed():
    networks = table(PLANTED.values())
    for row in range(9):
        networks = changed(networks, row, logit_cka=None)
    found = label_cells(networks, chance_loss=TEN, cka_reference=0.3)
    assert found.phase.tolist() == list(PHASES)
    np.testing.assert_allclose(found.scores.sum(0), 1)
    assert (found.scores[3, :3] == found.scores[4, :3]).all()


def test_the_error_is_between_seeds_for_the_loss_and_the_stated_one_for_pairs():
    spread = {"mode_connectivity": [-0.1, -0.2, -0.3], "train_loss": [0.1, 0.2, 0.3]}
    networks = table([PLANTED["I"]], **{k: pa.array(v) for k, v in spread.items()})
    cells = cell_means(networks)
    np.testing.assert_allclose(cells.mean["mode_connectivity"], -0.2)
    np.testing.assert_allclose(cells.error["mode_connectivity"], 0.002)
    np.testing.assert_allclose(cells.error["logit_cka"], 0.01)
    np.testing.assert_allclose(cells.error["train_loss"], 0.1 / np.sqrt(3))
    unsaid = cell_means(networks.drop_columns("mode_connectivity_se"))
    assert np.isnan(unsaid.error["mode_connectivity"]).all()
    repeated = cell_means(table([PLANTED["I"], (0.0, 0.0, 0.9)], spread=0))
    np.testing.assert_array_equal(repeated.error["train_loss"], [np.nan, 0])


def test_cutoffs_lie_at_their_anchors():
    cutoffs = find_cutoffs(cell_means(table(PLANTED.values())), chance_loss=TEN).cutoffs
    loss, joined, alike = cutoffs.train_loss, cutoffs.mode_connectivity, cutoffs.logit_cka
    assert loss.value**2 == pytest.approx(TEN * 0.01 * np.log(2))
    assert joined.value == -0.02
    assert alike.anchors == {
        "lowest level of the zoo": pytest.approx(0.3),
        "same network": 1,
    }
    assert 0.3 < alike.value < 1
    given_ = find_cutoffs(
        cell_means(table(PLANTED.values())), chance_loss=TEN, cka_reference=0.81
    )
    assert given_.cutoffs.logit_cka.value == pytest.approx(0.95**2)
    more = find_cutoffs(cell_means(table(PLANTED.values())), chance_loss=np.log(100))
    assert more.cutoffs.train_loss.value > loss.value


def test_a_noisy_connectivity_needs_a_greater_barrier():
    cells = [(1.2, -0.05, 0.3), (0.001, -0.05, 0.4), (0.001, -0.5, 0.4)]
    for se, phases in ((0.01, ["I", "III", "III"]), (0.04, ["II", "IV-A", "III"])):
        noisy = table(cells, mode_connectivity_se=pa.array([se] * 9))
        assert label_cells(noisy, chance_loss=TEN).phase.tolist() == phases
    by_hand = label_cells(noisy, chance_loss=TEN, mode_connectivity=-0.02)
    assert by_hand.phase.tolist() == ["I", "III", "III"]


def test_cutoffs_do_not_move_as_the_best_cells_train_on():
    trained = [PLANTED["I"], (1e-9, 0.0, 0.9)]
    for cells in ([PLANTED["I"], PLANTED["IV-B"]], trained):
        cutoff = find_cutoffs(cell_means(table(cells)), chance_loss=TEN).cutoffs.train_loss
        assert cutoff.value == pytest.approx(0.1263, abs=1e-4)


def test_a_zoo_in_which_everything_interpolates_has_no_high_loss_phase():
    draw = np.random.default_rng(1)
    cells = [(10 ** draw.uniform(-5, -2), draw.uniform(-0.005, 0), 0.8) for _ in range(20)]
    found = label_cells(table(cells), chance_loss=TEN)
    assert found.counts()["I"] == found.counts()["II"] == 0
    assert found.counts()["IV-B"] == 20
    text = " ".join(found.calibration.lacks)
    assert "No cell is under-fitted (no phase I, no phase II)" in text
    assert "No cell has a barrier (no phase I, no phase III)" in text
    assert "no phase IV-A" in text
    assert "the zoo shows no CKA of unrelated networks" in found.calibration.notes[0]


def test_a_narrow_zoo_in_which_nothing_converges_has_no_phase_four():
    draw = np.random.default_rng(2)
    cells = [
        (draw.uniform(0.4, 2), draw.uniform(-0.3, -0.05), draw.uniform(0.3, 0.5))
        for _ in range(20)
    ]
    found = label_cells(table(cells), chance_loss=TEN)
    assert found.counts()["I"] == 20
    text = " ".join(found.calibration.lacks)
    assert "No cell is fitted (no phase III, no phase IV)" in text
    assert "Every cell has a barrier (no phase II, no phase IV)" in text


def test_a_hessian_that_contradicts_the_loss_is_noted():
    networks = table(PLANTED.values())
    right = find_cutoffs(cell_means(networks), chance_loss=TEN).notes
    assert "in 100% of pairs." in right[-1]
    upside = networks.set_column(
        networks.column_names.index("hessian_trace"),
        "hessian_trace",
        pa.array(1 / networks["hessian_trace"].to_numpy()),
    )
    assert "contradicts" in find_cutoffs(cell_means(upside), chance_loss=TEN).notes[-1]


def test_cells_apart_without_a_cka_are_not_denied():
    cells = [(1.2, -0.3, np.nan), (0.001, 0.0, 0.9)]
    notes = find_cutoffs(cell_means(table(cells)), chance_loss=TEN).notes
    assert "No cell with a high loss or a barrier has a CKA, so the zoo shows" in notes[0]


def test_a_debiased_reference_below_zero_counts_as_zero():
    cells = cell_means(table(PLANTED.values()))
    below, zero = (
        find_cutoffs(cells, chance_loss=TEN, cka_reference=x) for x in (-1e-3, 0.0)
    )
    assert below == zero
    assert below.cutoffs.logit_cka.anchors["measured reference"] == 0


def test_a_table_in_which_nothing_can_be_labelled_is_unmeasured_throughout():
    found = label_cells(table(PLANTED.values(), seeds=1))  # nor are classes asked for
    assert found.counts()["unmeasured"] == 5
    assert set(found.reason) == {"one seed only"}
    assert found.calibration is None
    assert found.sensitivity == []
    for name in ("scores", "confidence", "distance", "stability"):
        assert np.isnan(getattr(found, name)).all()


def test_sensitivity_counts_the_cells_that_a_cutoff_passes():
    cells = [(0.001, 0.0, x) for x in (0.56, 0.62, 0.64, 0.9)] + [(0.12, 0.1, 0.9)]
    rows = label_cells(table(cells, spread=0), **BY_HAND).sensitivity
    moved = {(r["metric"], round(r["to"], 3)): r["moved"] for r in rows}
    assert moved[("logit_cka", 0.55)] == 1
    assert moved[("logit_cka", 0.65)] == 2
    assert moved[("train_loss", 0.15)] == 1
    assert moved[("train_loss", 0.067)] == 0
    assert moved[("mode_connectivity", -0.03)] == moved[("mode_connectivity", -0.01)] == 0


def test_halves_are_contiguous_and_a_chessboard_is_not():
    x, y = (axis.ravel().astype(float) for axis in np.meshgrid(range(6), range(6)))
    halves = np.where(x < 3, "I", "II").astype(object)
    chess = np.where((x + y) % 2, "I", "II").astype(object)
    one, other = (contiguity(x, y, labels, seed=0) for labels in (halves, chess))
    assert (one.pairs, one.share) == (60, 54 / 60)
    assert one.p < 0.01
    assert other.share == 0
    assert other.p == 1
    halves[0] = "unmeasured"
    assert contiguity(x, y, halves, seed=0).pairs == 58


def test_agreement_of_strangers_is_no_agreement():
    draw = np.random.default_rng(0)
    one, two = draw.choice(PHASES, (2, 20_000))
    share, kappa = agreement(one, two)
    assert abs(share - 0.2) < 0.02
    assert abs(kappa) < 0.02
    assert agreement(one, one) == (1, 1)
    with pytest.raises(ValueError, match="equal length"):
        agreement(one, two[1:])


@pytest.mark.parametrize(
    ("anchors", "message"),
    [
        ({}, "Give the number of classes of the task"),
        ({"chance_loss": 0.001}, "chance_loss must be above"),
        ({"train_loss": -1.0}, "train_loss must be above 0. Got -1.0"),
        ({"train_loss": float("nan")}, "train_loss must be above 0. Got nan"),
        ({"chance_loss": TEN, "logit_cka": 60.0}, "logit_cka must be in"),
        ({"chance_loss": TEN, "cka_reference": 1.0}, "cka_reference must be in"),
        ({"chance_loss": TEN, "mode_connectivity": -2.0}, "mode_connectivity must be in"),
    ],
)
def test_anchors_out_of_range_are_refused(anchors, message):
    with pytest.raises(CatalogError, match=message):
        label_cells(table(PLANTED.values()), **anchors)


def test_a_table_without_cells_or_without_any_metric_is_refused():
    networks = table([PLANTED["I"]])
    with pytest.raises(CatalogError, match="needs a 'cell'"):
        cell_means(networks.drop_columns("cell"))
    with pytest.raises(CatalogError, match="table of metrics is empty"):
        cell_means(networks.slice(0, 0))
    with pytest.raises(
        CatalogError, match="No cell can be labelled: no finite mode_connectivity"
    ):
        label_cells(networks.drop_columns("mode_connectivity"), chance_loss=TEN)


def test_a_loss_of_zero_is_fitted():
    found = label_cells(table([(0.0, 0.0, 0.9)], spread=0), **BY_HAND)
    assert found.phase.tolist() == ["IV-B"]
    assert np.isfinite(found.distance).all()


def test_a_cutoff_by_hand_replaces_that_one_alone():
    cells = cell_means(table(PLANTED.values()))
    own = find_cutoffs(cells, chance_loss=TEN).cutoffs
    other = find_cutoffs(cells, chance_loss=TEN, logit_cka=0.2).cutoffs
    assert replace(other, logit_cka=own.logit_cka) == own
    assert (other.logit_cka.value, other.logit_cka.origin) == (0.2, "by hand")
