"""Columns of a csv are typed by all of their cells."""

import gzip
import math
import os
from pathlib import Path

import pytest

from catalog import CatalogError
from catalog.formats.columns import Columns, divided
from catalog.formats.csv_table import read_csv
from catalog.formats.format import Network


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-2", ""], [1, -2, None]),
        (["1", "0.5"], [1.0, 0.5]),
        (["1e-3", ".5", "-inf"], [0.001, 0.5, -math.inf]),
        (["true", "False"], [True, False]),
        (["007", "1"], ["007", "1"]),
        (["1234567890123456789", "1"], ["1234567890123456789", "1"]),
        (["12345678901234567", "0.5"], ["12345678901234567", "0.5"]),
        (["1", "a,b"], ["1", "a,b"]),
        (["1", "x\ny"], ["1", "x\ny"]),
        (["0.1000000000000000055511151231257827", "1"], [0.1, 1.0]),
        (["-0.0", "3"], [-0.0, 3.0]),
        (["+1", "2"], ["+1", "2"]),
        ([" 3 ", "4"], [3, 4]),
    ],
)
def test_types(cells: list[str], values: list[object], tmp_path: Path) -> None:
    quoted = [f'"{cell}"' if "," in cell or "\n" in cell else cell for cell in cells]
    text = "k,x\n" + "".join(f"r,{cell}\n" for cell in quoted)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    table = read_csv(tmp_path / "a.csv.gz")
    found = [row["x"] for row in table]
    assert found == values
    assert [type(v) for v in found] == [type(v) for v in values]
    assert [table.row(i)["x"] for i in range(len(table))] == values


def test_nan_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("k,x\nr,nan\nr,1\n")
    values = [row["x"] for row in read_csv(tmp_path / "a.csv")]
    assert isinstance(values[0], float)
    assert math.isnan(values[0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\n1\n", "cannot be read as a csv"),
        (b"a,a\n1,2\n", "two columns called 'a'"),
        (b"", "cannot be read as a csv"),
        (b"a,b\n\xff\xfe,1\n", "cannot be read as a csv"),
    ],
)
def test_damaged_tables_are_named(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(CatalogError, match=rf"a\.csv.*{message}"):
        read_csv(tmp_path / "a.csv")


def test_a_truncated_gzip_is_refused(tmp_path: Path) -> None:
    data = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
    (tmp_path / "a.csv.gz").write_bytes(data[:-12])
    with pytest.raises(CatalogError, match="cannot be read"):
        read_csv(tmp_path / "a.csv.gz")


def test_results_belong_to_the_checkpoint() -> None:
    row = {"lr": 1, "test_accuracy": 0.5, "train_error": 2, "epoch": 3, "trainer": "x"}
    run, point = divided(row)
    assert run == {"lr": 1, "trainer": "x"}
    assert list(point) == ["test_accuracy", "train_error", "epoch"]


def test_whole_floats_fit_documented_integers() -> None:
    run, _ = Columns({}, ()).of(Network("a", None, run={"seed": 3.0, "lr": 1}))
    assert run == {"seed": 3, "lr": 1.0}
    assert [type(value) for value in run.values()] == [int, float]


def test_a_name_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"t\xff.csv")
    path.write_text("a\n1\n")
    with pytest.raises(CatalogError, match="cannot be read as a csv table"):
        read_csv(path)


def test_a_name_may_hold_a_line_break(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbf\n"a\nb","c,""d"""\n007,1\n')
    table = read_csv(tmp_path / "a.csv")
    assert list(table) == [{"a\nb": "007", 'c,"d"': 1}]
