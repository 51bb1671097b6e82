"""Values arrive as they are in every outlet, or not at all and with advice."""

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import catalog
from catalog import Catalog, CatalogError
from catalog.console.plain_values import plain
from catalog.console.program import main
from catalog.query.result_file import result_path, write_result
from catalog.rows import rows_of

TEXTS = [
    "'infinity'::TIMESTAMP", "'-infinity'::DATE", "DATE '0044-03-15 (BC)'",
    "DATE '20000-01-01'", "TIMESTAMPTZ 'infinity'", "TIMESTAMPTZ '2020-01-01 10:00:00+01'",
    "TIMESTAMP_NS '2020-01-01 10:00:00.123456789'", "TIMESTAMP_S '2020-01-01'",
    "'24:00:00'::TIME", "TIME_NS '10:00:00.123456789'", "TIMETZ '10:00:00+01'",
    "'101'::BIT", "123456789012345678901234567890123456789012345::BIGNUM",
    "{'a': 1}::VARIANT", "'POINT(1 2)'::GEOMETRY", "INTERVAL '1 month 2 days 3 hours'",
    "uuid()", "'it''s'::ENUM('a', 'it''s')", "{'a': '1'}::JSON",
]  # fmt: skip
"""Values that people and JSON get as DuckDB writes them."""

VALUES = [
    ("340282366920938463463374607431768211455::UHUGEINT", (1 << 128) - 1),
    ("(-170141183460469231731687303715884105728)::HUGEINT", -(1 << 127)),
    ("sum(7)", 7),
    ("1.5::DECIMAL(5, 2)", 1.5),
    ("3::DECIMAL(38, 0)", 3),
    ("12345678901234567890123456789012345678::DECIMAL(38, 0)",
     12345678901234567890123456789012345678),
    ("0.12345678901234567890::DECIMAL(38, 20)", "0.12345678901234567890"),
    ("MAP {'a': 1}", {"a": 1}),
    ("MAP {DATE 'infinity': [MAP {1: 2::UHUGEINT}]}", {"infinity": [{"1": 2}]}),
    ("NULL::MAP(VARCHAR, HUGEINT)", None),
    ("{'a \"b\"': [3::HUGEINT, NULL], 'day': DATE 'infinity'}",
     {'a "b"': [3, None], "day": "infinity"}),
    ("NULL::STRUCT(a HUGEINT)", None),
    ("[{'x': TIME '24:00'}]", [{"x": "24:00:00"}]),
    ("[DATE '20000-01-01']::DATE[1]", ["20000-01-01"]),
    ("row(1, 3::HUGEINT)", {"element1": 1, "element2": 3}),
    ("union_value(k := DATE 'infinity')", "infinity"),
    ("[NULL]", [None]),
    ("'ab'::BLOB", "6162"),
    ("'nan'::DOUBLE", "nan"),
]  # fmt: skip


@pytest.fixture
def phasezoo(
    zoo: Catalog, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run `phasezoo sql`: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(["sql", "--catalog", str(zoo.root), *map(str, arguments)])
        out, err = capsys.readouterr()
        return int(exit_.value.code or 0), out, err

    return run


def row(values: list[str]) -> str:
    return "SELECT " + ", ".join(f"{one} AS c{i}" for i, one in enumerate(values))


def answers(zoo: Catalog, query: str, folder: Path) -> dict[str, Any]:
    path = result_path(folder / "x.json", force=True)
    assert write_result(zoo.sql(query), path) == 1
    found: dict[str, Any] = json.loads(path.read_text())[0]
    return found


def test_what_python_has_not_is_the_text_of_duckdb(
    zoo: Catalog, tmp_path: Path, phasezoo: Callable[..., tuple[int, str, str]]
) -> None:
    fixed = [one for one in TEXTS if one != "uuid()"]
    query = row(fixed)
    expected = dict(
        zip(
            [f"c{i}" for i in range(len(fixed))],
            zoo.sql("SELECT " + ", ".join(f"({t})::VARCHAR" for t in fixed)).fetchall()[0],
            strict=True,
        )
    )
    assert answers(zoo, query, tmp_path) == expected
    code, out, _ = phasezoo(query, "--json")
    assert (code, json.loads(out)) == (0, [expected])
    for one, text in zip(fixed, expected.values(), strict=True):
        code, out, _ = phasezoo(f"SELECT {one} AS x")
        assert (code, out.split("\n")[2].strip()) == (0, text)
    csv_file = result_path(tmp_path / "x.csv")
    write_result(zoo.sql(query), csv_file)
    with csv_file.open(newline="") as file:
        assert list(csv.DictReader(file)) == [expected]


def test_numbers_and_nested_values_are_those_of_json(
    zoo: Catalog, tmp_path: Path, phasezoo: Callable[..., tuple[int, str, str]]
) -> None:
    query = row([text for text, _ in VALUES])
    expected = {f"c{i}": value for i, (_, value) in enumerate(VALUES)}
    found = answers(zoo, query, tmp_path)
    assert found == expected
    assert list(map(type, found.values())) == list(map(type, expected.values()))
    assert json.loads(phasezoo(query, "--json")[1]) == [expected]


def test_columns_of_one_name_all_arrive(zoo: Catalog, tmp_path: Path) -> None:
    query = "SELECT DATE 'infinity' AS a, 2::HUGEINT AS a"
    assert list(answers(zoo, query, tmp_path).values()) == ["infinity", 2]
    table = zoo.sql("SELECT 1::HUGEINT AS a, 2::HUGEINT AS a").to_arrow_table()
    assert [column[0].as_py() for column in table.columns] == [1, 2]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("TIMETZ '10:00:00+01'", "10:00:00+01"),
        ("'101'::BIT", "101"),
        ("123456789012345678901234567890123456789012345::BIGNUM",
         "123456789012345678901234567890123456789012345"),
        ("{'a': 1}::VARIANT", "{'a': 1}"),
        ("['101'::BIT]", ["101"]),
        ("99999999999999999999999999999999999999::UHUGEINT", Decimal("9" * 38)),
        ("MAP {2::HUGEINT: 3}", [(Decimal(2), 3)]),
    ],
)  # fmt: skip
def test_arrow_and_parquet_hold_the_value(
    zoo: Catalog, tmp_path: Path, value: str, kept: Any
) -> None:
    query = f"SELECT {value} AS x"
    assert zoo.sql(query).to_arrow_table().to_pylist() == [{"x": kept}]
    assert pa.table(zoo.sql(query)).to_pylist() == [{"x": kept}]
    assert zoo.sql(query).to_arrow_reader(10).read_all().to_pylist() == [{"x": kept}]
    path = result_path(tmp_path / "x.parquet")
    write_result(zoo.sql(query), path)
    again = catalog.open(zoo.root, allow=[tmp_path]).sql(f"FROM '{path}'")
    assert again.to_arrow_table().to_pylist() == [{"x": kept}]


@pytest.mark.parametrize(
    "value",
    [
        "340282366920938463463374607431768211455::UHUGEINT",
        "(-170141183460469231731687303715884105728)::HUGEINT",
        "[100000000000000000000000000000000000000::HUGEINT]",
    ],
)
def test_what_arrow_cannot_hold_is_an_error_with_advice(
    zoo: Catalog, tmp_path: Path, value: str
) -> None:
    query = f"SELECT {value} AS x"
    with pytest.raises(CatalogError, match=r"CAST\(column AS VARCHAR\)"):
        zoo.sql(query).to_arrow_table()
    path = result_path(tmp_path / "x.parquet")
    with pytest.raises(CatalogError, match=r"CAST\(column AS VARCHAR\)"):
        write_result(zoo.sql(query), path)
    assert list(tmp_path.iterdir()) == []


def test_rows_with_dates_that_python_has_not_are_texts(zoo: Catalog) -> None:
    assert rows_of(zoo, "SELECT DATE 'infinity' AS day, 1 AS one") == [
        {"day": "infinity", "one": 1}
    ]


def test_decimals_are_numbers_with_their_digits() -> None:
    for text in ("1.50", "-0.1", "123456789.012345", "1e3", "-" + "9" * 38):
        assert Decimal(repr(plain(Decimal(text)))) == Decimal(text)
    assert plain(Decimal("0.1234567890123456789")) == "0.1234567890123456789"
