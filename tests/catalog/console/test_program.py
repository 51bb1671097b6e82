"""The command line: results on stdout, everything else on stderr, four exit codes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import catalog
from catalog import Catalog, Layout
from catalog.console.program import VERBS as PROGRAM_VERBS
from catalog.console.program import main, print_json, print_table
from catalog.plugins import registry
from catalog.schema import CHECKPOINTS, MEASURES, RUNS, TABLES

VERBS = sorted(point.name for point in entry_points(group="phasezoo.verbs"))
READING = ["sql", "ls", "show", "schema", "verify"]


@pytest.fixture
def phasezoo(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(exit_.value.code or 0), out, err

    return run


@pytest.fixture(scope="module")
def named(
    new_zoo: Any, commit: Any, networks: Any, small_layout: Layout, measure: Any
) -> Catalog:
    """Five networks of one zoo, one measure, one free column."""
    zoo = new_zoo()
    commit(
        zoo, networks(small_layout, 5, prefix="run-of-digits"),
        zoo=["digits"] * 5, seed=list(range(5)), dropout=[0.5] * 5, status=["finished"] * 5,
    )  # fmt: skip
    measure(zoo, [{"run_id": "run-of-digits-0", "step": 0, "sharpness": 2.5}])
    return zoo.refreshed()


def test_sql_prints_an_aligned_table(phasezoo: Any, named: Catalog) -> None:
    query = "SELECT run_id, seed, 12345 * seed AS big, 1 / 3 AS r, NULL AS n FROM runs"
    assert phasezoo("sql", query, "--catalog", named.root, "--rows", 2) == (
        0,
        "run_id           seed     big       r  n\n"
        "---------------  ----  ------  ------  -\n"
        "run-of-digits-0     0       0  0.3333  -\n"
        "run-of-digits-1     1  12,345  0.3333  -\n",
        "Printed the first 2 rows; --rows N prints more.\n",
    )


def test_no_rows_are_said_to_be_none(phasezoo: Any, named: Catalog) -> None:
    query = "SELECT run_id FROM runs WHERE false"
    assert phasezoo("sql", query, "--catalog", named.root)[:2] == (0, "(no rows)\n")
    code, out, _ = phasezoo("sql", query, "--catalog", named.root, "--json")
    assert (code, json.loads(out)) == (0, [])


@pytest.mark.parametrize(
    "arguments",
    [
        ("sql", "SELECT * FROM models"),
        (
            "sql",
            "SELECT 'nan'::DOUBLE, [1.5, 'inf'::DOUBLE], {'a': 'x'::BLOB}",
        ),
        ("sql", "EXPLAIN SELECT 1"),
        ("sql", "FROM tensor_stats"),
        ("ls",),
        ("show", "digits"),
        ("show", "run-of-digits-0"),
        ("show", "run-of-digits-0@0"),
        ("schema",),
        ("verify",),
    ],
)
def test_json_is_exactly_one_document(
    phasezoo: Any, named: Catalog, arguments: tuple[str, ...]
) -> None:
    code, out, err = phasezoo(*arguments, "--catalog", named.root, "--json")
    assert (code, err) == (0, "")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(out, parse_constant=refuse)


def test_sql_json_keeps_every_row_and_value(phasezoo: Any, named: Catalog) -> None:
    query = "SELECT seed, 'nan'::DOUBLE AS x, 'é' AS t FROM range(100) JOIN runs ON true"
    _, out, _ = phasezoo("sql", query, "--catalog", named.root, "--json", "--rows", 1)
    rows = json.loads(out)
    assert len(rows) == 500
    assert rows[0].keys() == {"seed", "x", "t"}
    assert (rows[0]["x"], rows[0]["t"]) == ("nan", "é")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT sead FROM runs", '"seed"'),
        ("SELECT 1 FROM run", "runs"),
        ("SELEC 1", "syntax error"),
        ("SELECT zoo::INT FROM runs", "Could not convert string 'digits' to INT32"),
    ],
)
@pytest.mark.parametrize("json_", [(), ("--json",)])
def test_an_sql_error_is_duckdbs_own_explanation(
    phasezoo: Any, named: Catalog, query: str, message: str, json_: tuple[str, ...]
) -> None:
    code, out, err = phasezoo("sql", query, "--catalog", named.root, *json_)
    assert (code, out) == (1, "")
    assert err.startswith("Error: SQL error. ")
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sqll", "SELECT 1"), "No verb 'sqll'. Closest: sql"),
        (("sql",), "Missing argument 'QUERY'"),
        (("sql", "SELECT 1", "--rows", "many"), "'many' is not a valid integer"),
        (("show",), "Missing argument 'ID'"),
        (("ls", "digits"), "unexpected extra argument"),
        (("cache", "--full"), "No such option"),
        (("verify", "--fast"), "No such option"),
        ((), "Usage: phasezoo"),
    ],
)
def test_wrong_usage_exits_with_2(phasezoo: Any, arguments: Any, message: str) -> None:
    code, out, err = phasezoo(*arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    "arguments", [("sql", "SELECT 1"), ("ls",), ("show", "x"), ("verify",)]
)
def test_a_missing_catalogue_exits_with_1_and_is_not_made(
    phasezoo: Any, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    code, out, err = phasezoo(*arguments, "--catalog", tmp_path / "none")
    assert (code, out) == (1, "")
    assert f"There is no catalogue in {tmp_path}/none" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, click.Abort])
def test_an_interrupt_exits_with_130(phasezoo: Any, monkeypatch: Any, kind: Any) -> None:
    def interrupted(path: str, **options: Any) -> Catalog:
        raise kind

    monkeypatch.setattr("catalog.cli.open_catalog", interrupted)
    code, out, err = phasezoo("sql", "SELECT 1")
    assert (code, out) == (130, "")
    assert "Interrupted." in err


def test_a_missing_extra_is_named_with_what_to_paste(
    phasezoo: Any, monkeypatch: Any
) -> None:
    def missing(name: str) -> Callable[..., Any]:
        def fail(path: str, **options: Any) -> Catalog:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        return fail

    monkeypatch.setattr("catalog.cli.open_catalog", missing("torch"))
    code, _, err = phasezoo("sql", "SELECT 1")
    assert code == 1
    assert "This command needs torch, which is not installed. Paste: " in err
    assert "pip install 'phasezoo[train]'" in err
    monkeypatch.setattr("catalog.cli.open_catalog", missing("phasezoo_bug"))
    with pytest.raises(ModuleNotFoundError, match="phasezoo_bug"):
        main(["sql", "SELECT 1"])


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_ends_in_an_example(phasezoo: Any, verb: str) -> None:
    code, out, _ = phasezoo(verb, "--help")
    assert code == 0
    assert out.rstrip().splitlines()[-1].strip().startswith(f"Example: phasezoo {verb}")
    assert phasezoo(verb, "-h")[1] == out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_both_help_options_without_the_group(verb: str) -> None:
    short, long = (CliRunner().invoke(PROGRAM_VERBS[verb], [o]) for o in ("-h", "--help"))
    assert (short.exit_code, short.output) == (0, long.output)
    assert "-h, --help" in long.output


def test_the_help_lists_every_verb_and_the_version_is_printed(phasezoo: Any) -> None:
    assert {*READING} <= {*VERBS}
    code, out, _ = phasezoo("--help")
    assert code == 0
    listed = out[out.index("Commands:") :].splitlines()
    assert [line.split()[0] for line in listed if line[:3].strip()][
        1 : 1 + len(VERBS)
    ] == VERBS
    assert out.rstrip().splitlines()[-1].strip().startswith("Example: phasezoo ")
    assert phasezoo("--version")[1] == f"phasezoo, version {catalog.__version__}\n"


def test_a_broken_verb_of_others_takes_one_line_and_no_verb_of_ours(
    phasezoo: Any, named: Catalog, monkeypatch: Any
) -> None:
    theirs = EntryPoint("saw", "no_such_module:saw", "phasezoo.verbs")
    points = {**registry._announced("phasezoo.verbs"), "saw": [theirs]}
    monkeypatch.setattr(registry, "_announced", lambda group: points)
    code, out, _ = phasezoo("--help")
    assert code == 0
    assert {f"  {verb} " in out for verb in VERBS} == {True}
    assert [line.split()[0] for line in out.splitlines() if "annot be loaded" in line] == [
        "saw"
    ]
    assert phasezoo("sql", "SELECT 1", "--catalog", named.root)[0] == 0
    code, out, err = phasezoo("saw", "--teeth", 3)
    assert (code, out) == (1, "")
    assert "The verb 'saw' of an unknown distribution cannot be loaded from" in err
    assert "No module named 'no_such_module'" in err
    assert err.count("\n") == 1


def test_the_catalogue_may_come_from_the_environment(
    phasezoo: Any, named: Catalog, monkeypatch: Any
) -> None:
    monkeypatch.setenv("PHASEZOO_HOME", str(named.root))
    assert phasezoo("sql", "SELECT count(*) AS n FROM runs", "--json")[0] == 0


def test_show_prints_a_page_or_a_document(phasezoo: Any, named: Catalog) -> None:
    code, out, err = phasezoo("show", "digits", "--catalog", named.root)
    assert (code, err) == (0, "")
    assert out.startswith("Zoo digits\n\nZoo:\n  runs ")
    _, out, _ = phasezoo("show", "run-of-digits-0@0", "--catalog", named.root, "--json")
    assert json.loads(out)["id"] == "run-of-digits-0@0"


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("digit", "Nothing is called 'digit'.*Closest: digits"),
        (
            "run-of",
            "Several identifiers begin with 'run-of': run-of-digits-0 .run of digits.",
        ),
    ],
)
def test_show_says_what_it_could_not_find(
    phasezoo: Any, named: Catalog, identifier: str, message: str
) -> None:
    code, out, err = phasezoo("show", identifier, "--catalog", named.root)
    assert (code, out) == (1, "")
    assert re.search(message, err)


def test_schema_documents_every_column_with_and_without_a_catalogue(
    phasezoo: Any, named: Catalog, tmp_path: Path
) -> None:
    _, out, _ = phasezoo("schema", "--catalog", tmp_path / "none", "--json")
    bare = {(row["view"], row["column"]) for row in json.loads(out)}
    documented_measures = {("models", c.name) for c in MEASURES}
    assert bare == {
        *((v, c.name) for v, cs in TABLES.items() for c in cs),
        ("models", "*"),
        *documented_measures,
    }
    _, out, _ = phasezoo("schema", "--catalog", named.root, "--json")
    rows = json.loads(out)
    added = {(row["view"], row["column"]) for row in rows} - bare
    assert added == {("runs", "dropout"), ("models", "sharpness")}
    assert all(row["unit"] and row["meaning"] for row in rows)
    models = {name for name, *_ in named.sql("DESCRIBE models").fetchall()}
    documented = {
        row["column"] for row in rows if row["view"] in ("runs", "checkpoints", "models")
    }
    assert models == documented - {"*"}
    assert {c.name for c in (*RUNS, *CHECKPOINTS)} < models


def test_verify_exits_with_1_and_names_what_is_wrong(phasezoo: Any, zoo: Catalog) -> None:
    code, out, _ = phasezoo("verify", "--catalog", zoo.root)
    assert code == 0
    assert out.endswith("MB: 0 problems, 0 leftovers swept\n")
    (manifest,) = zoo.snapshot.manifests
    path = zoo.root / manifest.files["runs"].path
    path.write_bytes(path.read_bytes() + b"x")
    code, out, _ = phasezoo("verify", "--catalog", zoo.root)
    assert code == 1
    assert out.startswith(f"WRONG  {manifest.files['runs'].path}  ")
    code, out, _ = phasezoo("verify", "--catalog", zoo.root, "--json")
    assert code == 1
    (problem,) = json.loads(out)["problems"]
    assert (problem["path"], problem["shard"]) == (
        manifest.files["runs"].path,
        manifest.shard,
    )


def test_verify_keeps_leftovers_on_request(phasezoo: Any, zoo: Catalog) -> None:
    left = zoo.root / "runs" / "abcdefabcdef-000001.parquet"
    left.write_bytes(b"half")
    (zoo.root / "writers" / "abcdefabcdef.writer").write_bytes(b"")
    code, out, _ = phasezoo("verify", "--keep", "--catalog", zoo.root)
    assert (code, left.exists()) == (0, True)
    assert f"found  runs/{left.name}" in out
    code, out, _ = phasezoo("verify", "--catalog", zoo.root)
    assert (code, left.exists()) == (0, False)
    assert f"swept  runs/{left.name}" in out


def test_tables_and_json_show_every_kind_of_value(capsys: Any) -> None:
    row = {
        "a": None,
        "b": True,
        "c": 99_999,
        "d": 1e-9,
        "e": [1, float("inf")],
        "f": b"\x01",
    }
    print_table([row, {**row, "a": "x"}])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["-", "true", "99,999", "1e-09", "[1,", '"inf"]', "01"]
    print_json(row)
    assert json.loads(capsys.readouterr().out)["e"] == [1, "inf"]
    assert len({len(line) for line in lines[:1]}) == 1


HEAVY = [
    "torch",
    "scipy",
    "sklearn",
    "datasets",
    "huggingface_hub",
    "matplotlib",
    "pandas",
    "zoo",
]


@pytest.mark.parametrize("verb", READING)
def test_reading_verbs_start_without_heavy_libraries(named: Catalog, verb: str) -> None:
    arguments = {"sql": ["SELECT count(*) FROM models"], "show": ["digits"]}.get(verb, [])
    code = (
        "import sys\nfrom catalog.console.program import main\n"
        f"try: main([{verb!r}, *{arguments!r}, '--catalog', {str(named.root)!r}])\n"
        "except SystemExit as error: assert not error.code, error.code\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_reader_of_the_output_that_leaves_is_no_error(named: Catalog) -> None:
    code = "from catalog.console.program import main; main()"
    command = [sys.executable, "-c", code, "sql", "SELECT unnest(range(200000))"]
    command += ["--rows", "200000", "--catalog", str(named.root)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).with_name("phasezoo")
    done = subprocess.run(
        [command, "--version"], capture_output=True, text=True, env=os.environ
    )
    assert done.stdout == f"phasezoo, version {catalog.__version__}\n"
