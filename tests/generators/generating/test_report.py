"""Reports of the judge: what they say is data."""

import json

import pyarrow as pa
import pytest

import catalog
from catalog import CatalogError
from generators.generating.report import FORMAT, read_report


@pytest.fixture
def store(tmp_path):
    zoo = catalog.open(tmp_path / "zoo", create=True)
    ids = ["it's", '"; DROP TABLE runs; --']
    runs = pa.table({"run_id": ids, "zoo": ["z"] * 2, "source": ["generated"] * 2})
    with zoo.writer() as writer:
        writer.commit(runs, pa.table({"run_id": ids, "step": [0, 0]}))
    return zoo.refreshed()


def report(path, samples):
    """A report with no more than what reading it needs."""
    parts = {key: [] for key in ("assessments", "points", "table", "control")}
    told = {"format": FORMAT, "samples": samples, "file": None, "plot": None, **parts}
    path.write_text(json.dumps(told))
    return path


def test_names_of_samples_are_looked_up_and_not_run(store, tmp_path):
    canary = tmp_path / "canary"
    named = report(tmp_path / "named.json", ["it's", '"; DROP TABLE runs; --'])
    assert read_report(store, named)["samples"] == ["it's", '"; DROP TABLE runs; --']
    write = f"COPY (SELECT 1) TO '{canary}'"
    evil = [f"x'); {write}; --", f"x') FROM models; {write}; SELECT ('"]
    assert read_report(store, report(tmp_path / "evil.json", evil)) is None
    assert not canary.exists()
    assert len(store.sql("FROM runs").fetchall()) == 2


@pytest.mark.parametrize(
    "text",
    ["", "7", "[]", "null", '"x"', "[" * 100_000, '{"format": 2}', "\x00",
     '{"format": 2, "samples": 5}', '{"format": 2, "samples": {}}'],
)  # fmt: skip
def test_a_report_of_other_content_is_refused(store, tmp_path, text):
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(CatalogError, match=r"report.json is damaged"):
        read_report(store, path)


def test_a_report_of_another_format_is_judged_anew(store, tmp_path):
    path = tmp_path / "report.json"
    path.write_text('{"format": "x"}')
    assert read_report(store, path) is None


def test_a_report_without_samples_is_refused(store, tmp_path):
    with pytest.raises(CatalogError, match="names no samples"):
        read_report(store, report(tmp_path / "none.json", []))
