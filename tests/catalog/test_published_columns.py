"""Which table a published column belongs to, and what its text means."""

from pathlib import Path

import pytest

from catalog import CatalogError
from catalog.published_columns import (
    flatten,
    match_rows,
    parse,
    read_metadata,
    sort_columns,
)
from catalog.schema import CHECKPOINTS, RUNS


def test_documented_columns_go_to_their_table() -> None:
    run, checkpoint = sort_columns({"lr": 0.1, "test_loss": 1.0, "free": 2})
    assert (run, checkpoint) == ({"lr": 0.1}, {"test_loss": 1.0, "free": 2})
    run, checkpoint = sort_columns({"lr": 0.1, "test_loss": 1.0, "free": 2}, free="run")
    assert (run, checkpoint) == ({"lr": 0.1, "free": 2}, {"test_loss": 1.0})


def test_a_column_never_stands_in_both_tables() -> None:
    names = {column.name for column in (*RUNS, *CHECKPOINTS)} - {"run_id"}
    for free in ("run", "checkpoint"):
        run, checkpoint = sort_columns(dict.fromkeys(names), free=free)
        assert len(run) + len(checkpoint) == len(names)
        assert not {c.name for c in CHECKPOINTS} & run.keys()
        assert not {c.name for c in RUNS} & checkpoint.keys()


@pytest.mark.parametrize("name", ["shard", "row", "run_id", "zoo", "config", "Row", "LR"])
def test_what_means_something_else_here_is_renamed(name: str) -> None:
    assert sort_columns({name: "x"})[1] == {f"published_{name}": "x"}


def test_flatten() -> None:
    nested = {"a::b": 1, "c": {"d": {"e": None}, "f": [1, "x"]}, "g.h": {}, "i": (1,)}
    assert flatten(nested, "x") == {
        "a_b": 1,
        "c_d_e": None,
        "c_f": '[1, "x"]',
        "g_h": "{}",
        "i": "[1]",
    }


@pytest.mark.parametrize("text", ["1e5", ".5", "5.", "-2.5E-3", "+1.5", "inf", "-Infinity"])
def test_numbers_are_parsed(text: str) -> None:
    value = parse(text)
    assert isinstance(value, float)
    assert value == float(text)


@pytest.mark.parametrize(
    "text",
    ["007", "00.5", "1_000", "0x10", "1e", ".", "e5", "-", "+", "1.2.3", "[1]", "9" * 30],
)
def test_other_text_stays_text(text: str) -> None:
    assert parse(text) == text or float(text) == parse(text) == float("9" * 30)


def test_a_column_of_a_csv_has_one_type(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("path,a,b,c,d\nx,1,1,True,\ny,2.5,one,False,7\n", encoding="utf-8-sig")
    rows = read_metadata(path)
    assert rows["x"] == {"a": 1, "b": "1", "c": True, "d": None}
    assert rows["y"] == {"a": 2.5, "b": "one", "c": False, "d": 7}
    match_rows(rows, ["y", "x"], path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,a\nx,1\n", "needs the column 'path'"),
        ("path,a,a\nx,1,2\n", "every column once"),
        ("path,a\nx,1,2\n", "more or fewer fields"),
        ("path,a\nx\n", "more or fewer fields"),
        ("path,a\nx,1\nx,2\n", "two rows for 'x'"),
        ("", "needs the column 'path'"),
        ('path,a\nx,"1\n', "not a readable csv"),
    ],
)
def test_a_broken_csv_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(CatalogError, match=message) as caught:
        read_metadata(tmp_path / "m.csv")
    assert "m.csv" in str(caught.value)
