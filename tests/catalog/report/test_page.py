"""The report: one file, every zoo, whatever it has."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from catalog import Catalog, CatalogError, Layout, Param, Population
from catalog.report.page import write_report

LAYOUT = Layout((Param("fc.weight", (8, 8)), Param("fc.bias", (8,), (), "bfloat16")))


@pytest.fixture(scope="module")
def zoos(new_zoo: Any) -> Catalog:
    """A grid with weights; weights alone; metrics alone; nothing but a run."""
    zoo = new_zoo()
    rng = np.random.default_rng(0)
    n = 4
    ids = [f"grid-{i}" for i in range(n)]
    axes = {"load": [1.0, 1.0, 2.0, 2.0], "temperature": [0.1, 0.2] * 2}
    named = {"load_axis": ["width"] * n, "temperature_axis": ["lr"] * n}
    accuracy = [0.5, 0.9, 0.7, None]
    points = {
        "run_id": ids,
        "step": [3] * n,
        "train_accuracy": accuracy,
        "validation_accuracy": accuracy,
        "test_accuracy": [0.9, 0.5, 0.6, None],
    }
    with zoo.writer() as writer:
        for name, columns, table in (
            ("grid", {**axes, **named}, pa.table(points)),
            ("plain & <b>", {}, pa.table({"run_id": ["w-0", "w-1"], "step": [0, 0]})),
        ):
            keys = table.select(["run_id", "step"])
            count = len(keys)
            tensors = {
                "fc.weight": rng.standard_normal((count, 8, 8), np.float32),
                "fc.bias": np.full((count, 8), 0x3F80, np.uint16),
            }
            runs = {"run_id": keys["run_id"], "zoo": [name] * count, **columns}
            runs["source"] = ["trained"] * count
            population = Population.from_tensors(tensors, LAYOUT, keys)
            writer.commit(pa.table(runs), table, population)
        ids = [f"metric-{i}" for i in range(6)]
        runs = {"run_id": ids, "zoo": ["metrics"] * 6, "source": ["imported"] * 6}
        varied = {"alpha": [1, 1, 2, 2, 3, 3]}
        writer.commit(
            pa.table({**runs, **varied}),
            pa.table({"run_id": ids, "step": [1] * 6, "force": np.linspace(0, 1, 6)}),
        )
        bare = {"run_id": ["bare"], "zoo": ["bare"], "source": ["derived"]}
        writer.commit(pa.table(bare), pa.table({"run_id": ["bare"], "step": [0]}))
    return zoo.refreshed()


@pytest.fixture(scope="module")
def page(zoos: Catalog, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    assert write_report(zoos, path) == ["bare", "grid", "metrics", "plain & <b>"]
    return path.read_text()


@pytest.fixture(scope="module")
def sections(page: str) -> dict[str, str]:
    parts = re.split(r'<h2 id="(.*?)">', page)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def titles(section: str) -> list[str]:
    return re.findall(r"<h3>(.*?)</h3>", section)


def test_the_page_loads_nothing_from_elsewhere(page: str) -> None:
    linked = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(link.startswith(("#", "data:")) for link in linked)
    assert "@import" not in page
    assert "plain &amp; &lt;b&gt;" in page
    assert "plain & <b>" not in page


def test_a_grid_has_maps_distributions_and_weights(sections: dict[str, str]) -> None:
    assert titles(sections["grid"]) == [
        "Loss and accuracy at the last checkpoint",
        "Distributions of the metrics",
        "Weights of representative networks",
        "Norms of the weights of all networks",
        "Representative networks",
        "Runs in the fixed splits",
    ]
    text = sections["grid"]
    table = text[text.index("<h3>Representative networks") :]
    chosen = re.findall(r"grid-\d", table[: table.index("</table>")])
    assert chosen == ["grid-1", "grid-2", "grid-0"]  # by test accuracy: the other way


def test_weights_without_metrics_are_drawn(sections: dict[str, str]) -> None:
    (text,) = [part for name, part in sections.items() if name.startswith("plain")]
    assert titles(text)[:2] == [
        "Weights of representative networks",
        "Norms of the weights of all networks",
    ]
    assert "never used to choose" in text
    assert "Cells show means" not in text


def test_metrics_without_a_grid_are_drawn_by_what_varies(
    sections: dict[str, str],
) -> None:
    text = sections["metrics"]
    assert titles(text)[:2] == ["Distributions of the metrics", "Metrics by varied setting"]
    assert "as their source states them" in text
    assert "<dt>diverged</dt><dd>not stated</dd>" in text
    assert "runs diverged" not in text


def test_the_list_of_zoos_counts_runs(page: str) -> None:
    table = page[page.index("<th>zoo") : page.index("</table>")]
    assert "<th>zoo<th>runs<th>checkpoints" in table
    (row,) = re.findall(r'#metrics".*?</tr>', table, re.DOTALL)
    assert row.endswith("<td>not stated</tr>")


def test_a_zoo_with_nothing_to_draw_says_so(sections: dict[str, str]) -> None:
    assert "This zoo has no metrics and no weights to draw." in sections["bare"]
    assert "<svg" not in sections["bare"]


def test_an_empty_catalogue_has_a_page(new_zoo: Any, tmp_path: Path) -> None:
    assert write_report(new_zoo(), tmp_path / "report.html") == []
    assert (
        "There is no zoo in this catalogue yet." in (tmp_path / "report.html").read_text()
    )


def test_on_a_full_disk_the_page_before_stays(
    new_zoo: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    empty, path = new_zoo(), tmp_path / "out" / "report.html"
    path.parent.mkdir()
    path.write_text("<!doctype html>before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CatalogError, match=r"No space .* or name another file with --to"):
        write_report(empty, path)
    assert path.read_text() == "<!doctype html>before"
    assert os.listdir(path.parent) == ["report.html"]


def test_the_command_says_what_is_on_the_page(
    zoos: Catalog, tmp_path: Path, capsys: Any
) -> None:
    from catalog.console.program import main

    with pytest.raises(SystemExit) as exit_:
        main(
            [
                "report",
                "--to",
                str(tmp_path / "r.html"),
                "--catalog",
                str(zoos.root),
                "--json",
            ]
        )
    assert not exit_.value.code
    assert json.loads(capsys.readouterr().out)["zoos"][1] == "grid"


def test_a_file_that_is_no_report_stays(new_zoo: Any, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes")
    with pytest.raises(CatalogError, match=r"notes\.txt exists and is not a report"):
        write_report(new_zoo(), path)
    assert path.read_text() == "my notes"
    path.write_text("")
    write_report(new_zoo(), path)
    write_report(new_zoo(), path)
