"""The report on averaging: means and intervals over cells, by phase."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from catalog import Catalog
from catalog.report.downstream import (
    FIGURES,
    GAINS,
    downstream_table,
    gain_bars,
    mean_and_half_width,
    phase_gains,
)
from catalog.report.page import write_report

CELLS, SEEDS = 6, 2
GAIN = [0.1, 0.2, 0.3, -0.1, -0.3, None]


@pytest.fixture(scope="module")
def zoo(new_zoo: Any) -> Catalog:
    """Six cells of two seeds on a grid: three in phase I, two in IV-B, one unmeasured."""
    found: Catalog = new_zoo()
    ids = [f"{c}-{s}" for c in range(CELLS) for s in range(SEEDS)]
    cells = [c for c in range(CELLS) for _ in range(SEEDS)]
    n = len(ids)
    runs = {
        "run_id": ids,
        "zoo": ["grid"] * n,
        "source": ["trained"] * n,
        "cell": [f"cell {c}" for c in cells],
        "load": [float(1 + c % 3) for c in cells],
        "temperature": [0.1 * (1 + c // 3) for c in cells],
        "load_axis": ["width"] * n,
        "temperature_axis": ["lr"] * n,
        "steps": [3] * n,
    }
    phases = ["I"] * 3 + ["IV-B"] * 2 + ["unmeasured"]
    curve = json.dumps({"0": 0.1, "0.5": 0.2, "0.9": 0.8})
    measures = {
        "run_id": ids,
        "step": [3] * n,
        "phase": [phases[c] for c in cells],
        "average_raw_gain": [GAIN[c] for c in cells],
        "prune_cliff": [0.1 * c for c in cells],
        "prune_curve": [curve] * n,
        "barrier_test_loss": [1.0 / (1 + c % 3) for c in cells],
        "aligned_barrier_test_loss": [0.1 / (1 + c % 3) for c in cells],
    }
    with found.writer() as writer:
        writer.commit(pa.table(runs), pa.table({"run_id": ids, "step": [3] * n}))
        writer.commit_measures(pa.table(measures), "downstream", {})
    return found.refreshed()


def test_means_and_intervals_are_over_cells(zoo: Catalog) -> None:
    phases, values = phase_gains(zoo, "grid")
    assert phases == ["I", "IV-B", "all"]
    own = values["average_raw_gain"]
    assert set(own) == {"I", "IV-B"}  # the cell without a phase has no average
    mean, half, count = own["I"]
    low, high = stats.t.interval(0.95, 2, 0.2, stats.sem([0.1, 0.2, 0.3]))
    assert (mean - half, mean + half, count) == pytest.approx((low, high, 3))
    assert set(values) == {
        "average_raw_gain", "prune_cliff", "barrier_test_loss",
        "aligned_barrier_test_loss",
    }  # fmt: skip


def test_one_cell_has_no_interval() -> None:
    mean, half, count = mean_and_half_width(np.array([0.5]))
    assert (mean, count) == (0.5, 1)
    assert np.isnan(half)


def test_the_table_has_a_row_per_phase(zoo: Catalog) -> None:
    rows = downstream_table(zoo, "grid")
    assert [(row["phase"], row["cells"]) for row in rows] == [
        ("I", 3), ("IV-B", 2), ("all", 1),
    ]  # fmt: skip
    name = GAINS["average_raw_gain"]
    assert rows[0][name] == "+0.200 ± 0.248"
    assert rows[2][name] == ""
    assert "ensemble" not in rows[0]


def test_the_page_shows_what_was_measured(zoo: Catalog, tmp_path: Path) -> None:
    write_report(zoo, tmp_path / "report.html")
    titles = re.findall(r"<h3>(.*?)</h3>", (tmp_path / "report.html").read_text())
    assert [title for title in titles if title in FIGURES] == list(FIGURES)
    assert "Averaging and downstream tasks by phase" in titles


def test_columns_of_these_names_with_other_values_are_left_out(
    new_zoo: Any, zoo: Catalog, tmp_path: Path, monkeypatch: Any
) -> None:
    """Whoever annotates a zoo may call a column of text ``hessian_trace``.

    Documented names keep their type here, but not in catalogues that others wrote.
    """
    monkeypatch.setattr("catalog.storage.measures._DOCUMENTED", {})
    other = new_zoo()
    rows = zoo.sql("SELECT run_id, step FROM models ORDER BY run_id").to_arrow_table()
    n = len(rows)
    columns: dict[str, list[Any]] = {
        "phase": [3] * n,
        "phase_stability": ["sure"] * n,
        "phase_distance": ["near"] * n,
        "hessian_trace": ["high"] * (n - 1) + ["2.5"],
        "average_raw_gain": ["much"] * n,
        "prune_cliff": [True] * n,
        "prune_curve": ["[1]"] * (n - 2) + ['{"a": 1}', '{"0": "x"}'],
        "barrier_test_loss": ["none"] * n,
    }
    with other.writer() as writer:
        runs = zoo.sql("SELECT * FROM runs ORDER BY run_id")
        writer.commit(runs.to_arrow_table(), rows)
        for name, values in columns.items():
            writer.commit_measures(rows.append_column(name, [values]), "mine", {})
    write_report(other.refreshed(), tmp_path / "report.html")
    assert phase_gains(other.refreshed(), "grid")[0] == ["all"]


def test_without_the_suite_there_is_nothing(new_zoo: Any) -> None:
    bare: Catalog = new_zoo()
    runs = {"run_id": ["a"], "zoo": ["bare"], "source": ["trained"]}
    with bare.writer() as writer:
        writer.commit(pa.table(runs), pa.table({"run_id": ["a"], "step": [0]}))
    bare = bare.refreshed()
    assert downstream_table(bare, "bare") == []
    assert all(draw(bare, "bare") is None for draw in FIGURES.values())


def test_bars_stand_for_means(zoo: Catalog) -> None:
    (ax,) = gain_bars(zoo, "grid").axes
    heights = [bar.get_height() for bar in ax.patches]
    assert heights[:2] == pytest.approx([0.2, -0.2])
