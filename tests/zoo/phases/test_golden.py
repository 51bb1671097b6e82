"""Labels of a published zoo of 1,050 networks, with cutoffs that know no test accuracy.

The fixed rule is a working one: high if the train loss is above 0.1, a barrier below -2 %,
CKA parted at 0.6. No test of the rule itself uses test accuracy but the last.
"""

import os
from pathlib import Path

import numpy as np
import pytest

import catalog
from catalog import import_source
from zoo.phases import PHASES, agreement, contiguity, label_cells

DATA = Path(os.environ.get("PHASEZOO_DATA") or Path(__file__).parents[3] / "../shared/data")
ZOO = "zoo_metrics_loss_landscape_taxonomy"
CHANCE = float(np.log(10))
COLUMNS = (
    "cell, step, load, temperature, train_loss, mode_connectivity, logit_cka, "
    "hessian_trace, hessian_top_eig"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    if not (DATA / ZOO).is_dir():
        pytest.skip(f"no published zoos in {DATA}; say where: PHASEZOO_DATA")
    root = tmp_path_factory.mktemp("published")
    import_source(root, DATA / ZOO, license="MIT")
    return catalog.open(root)


@pytest.fixture(scope="module")
def networks(store):
    return store.sql(f"SELECT {COLUMNS} FROM models").to_arrow_table()


@pytest.fixture(scope="module")
def found(networks):
    return label_cells(networks, chance_loss=CHANCE)


@pytest.fixture(scope="module")
def complete(store, found):
    """Which of the 210 cells have test files: those the fixed rule was written for."""
    query = "SELECT cell FROM models GROUP BY cell HAVING count(test_accuracy) = 5"
    return np.isin(found.cells.cell, [row[0] for row in store.sql(query).fetchall()])


@pytest.fixture(scope="module")
def by_rule(networks):
    """The fixed rule, written out; it does not come from the code under test."""
    cells = {}
    for row in networks.to_pylist():
        cells.setdefault((row["load"], row["temperature"], row["cell"]), []).append(row)
    labels = []
    for _, members in sorted(cells.items()):
        loss = np.mean([row["train_loss"] for row in members])
        barrier = members[0]["mode_connectivity"] < -0.02
        if loss > 0.1:
            labels.append("I" if barrier else "II")
        elif barrier:
            labels.append("III")
        else:
            labels.append("IV-B" if members[0]["logit_cka"] >= 0.6 else "IV-A")
    return np.array(labels, dtype=object)


def shares(labels):
    return {name: int((labels == name).sum()) for name in PHASES}


def test_the_fixed_rule_gives_its_published_counts(networks, by_rule, complete):
    assert complete.sum() == 182
    expected = dict(zip(PHASES, (52, 16, 30, 19, 65), strict=True))
    assert shares(by_rule[complete]) == expected
    ours = label_cells(networks, train_loss=0.1, mode_connectivity=-0.02, logit_cka=0.6)
    assert (ours.phase == by_rule).all()


def test_every_cell_has_a_phase_and_every_phase_cells(found):
    assert len(found.cells) == 210
    assert found.counts()["unmeasured"] == 0
    assert min(shares(found.phase).values()) >= 10
    assert found.calibration.lacks == ()


def test_the_calibrated_rule_agrees_with_the_fixed_one(found, by_rule, complete):
    ours, theirs = found.phase[complete], by_rule[complete]
    share, kappa = agreement(ours, theirs)
    assert share >= 0.93
    assert kappa >= 0.90
    away = np.abs(found.distance[complete])
    band = np.argsort(away)[: len(away) // 10]
    outside = np.setdiff1d(np.arange(len(away)), band)
    assert agreement(ours[outside], theirs[outside])[0] >= 0.95
    differ = away[ours != theirs]
    assert differ.max() < 0.5  # all of them close to a boundary, by our own account


def test_the_phases_are_regions(found):
    cells = found.cells
    lies = contiguity(cells.load, cells.temperature, found.phase, seed=0)
    assert lies.pairs == 391
    assert lies.share > 0.8 > 0.3 > lies.shuffled
    assert lies.p < 0.01


def test_high_loss_comes_with_a_large_hessian(found):
    assert "sharper than low-loss cells in 91% of pairs." in found.calibration.notes[0]


def test_wide_well_trained_cells_have_no_high_loss_phase(networks):
    """The part of the zoo where batches are large and networks wide."""
    rows = [
        i
        for i, row in enumerate(networks.to_pylist())
        if row["load"] >= 32 and row["temperature"] >= 64
    ]
    part = label_cells(networks.take(rows), chance_loss=CHANCE)
    assert sum(part.counts()[name] for name in ("I", "II", "III")) == 0
    text = " ".join(part.calibration.lacks)
    assert "No cell is under-fitted" in text
    assert "No cell has a barrier" in text


def test_narrow_cells_have_no_phase_four(networks):
    rows = [i for i, row in enumerate(networks.to_pylist()) if row["load"] <= 3]
    part = label_cells(networks.take(rows), chance_loss=CHANCE)
    assert sum(part.counts()[name] for name in ("III", "IV-A", "IV-B")) == 0
    assert "No cell is fitted (no phase III, no phase IV)" in part.calibration.lacks[0]


def test_the_phases_rank_by_test_accuracy(store, found, complete):
    query = "SELECT cell, avg(test_accuracy) FROM models GROUP BY cell"
    accuracy = dict(store.sql(query).fetchall())
    mean = {
        name: np.mean(
            [accuracy[c] for c in found.cells.cell[complete & (found.phase == name)]]
        )
        for name in PHASES
    }
    assert mean["IV-B"] > mean["IV-A"] > max(mean["II"], mean["III"])
    assert min(mean["II"], mean["III"]) > mean["I"]
