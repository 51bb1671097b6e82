"""Names that would be SQL, TeX, HTML, YAML or escape sequences are names, everywhere."""

import ast
import hashlib
import io
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import catalog
from catalog import Catalog, CatalogError, Layout, Param, Population
from catalog.catalog import architecture_of
from catalog.console.program import main
from catalog.index.tables import connect
from catalog.printable import acts
from catalog.quoting import file_pattern, identifier, literal
from catalog.report.page import write_report
from catalog.rows import rows_of
from catalog.upkeep.annotation import annotate
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.upkeep.removal import find_removal, remove
from catalog.upkeep.verify import verify

ROOT = Path(catalog.__file__).parent.parent
ACTING = "\x1b]0;owned\x07\x9b2J\u202etxt.exe\u200b\x7f\u2028x\nError: forged\r"
BREAKING = (
    r"""'q' "d" `b` \ ; -- /* $\frac{$ <script>alert(1)</script> {0} {zoo} %s :zoo :run"""
)
VERBS = sorted(point.name for point in entry_points(group="phasezoo.verbs"))
NO_CATALOG = {"recipes", "cache"}
"""Verbs without --catalog."""


def nasty(canary: Path) -> str:
    """A name that breaks out of every quotation that it could stand in."""
    write = f"COPY (SELECT 1) TO '{canary}'"
    return f"{ACTING}{BREAKING}'); {write}; --\"); {write}; --"


def plain(text: str) -> str:
    """The part of it that may be the name of a column."""
    return "".join(c if c.isprintable() else " " for c in text)


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canary") / "written.csv"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, canary: Path) -> Path:
    """A catalogue in which every text is such a name; its folder is called so, too."""
    name = nasty(canary)
    # Slashes part folders, to DuckDB also in a pattern and backwards.
    folder = re.sub(r"[/\\]", "|", plain(ACTING + BREAKING)) + "[1]*?"
    root = tmp_path_factory.mktemp("hostile") / folder
    beside = root.parent / re.sub(r"\[1\]\*\?$", "1xx", folder)
    n, column = 8, plain(name)
    ids = [f"{name}{i}" for i in range(n)]
    layout = Layout((Param(f"{name}.weight", (6, 6)), Param(f"{name}.bias", (6,))))
    keys = pa.table({"run_id": ids, "step": [3] * n})
    rng = np.random.default_rng(0)
    tensors = {
        p.name: rng.standard_normal((n, *p.shape)).astype(np.float32) for p in layout
    }
    texts = {
        key: [name] * n
        for key in (
            *("zoo", "task_name", "architecture_name", "load_axis", "license"),
            *("temperature_axis", "cell", "status", "engine", column),
        )
    }
    numbers = {
        "load": [1.0, 1.0, 2.0, 2.0] * 2,
        "temperature": [0.1, 0.2] * 4,
        f"{column} number": [1, 2, 3, 4] * 2,
        "steps": [3] * n,
        "architecture": [json.dumps({"name": name})] * n,
        "source": ["trained"] * n,
        "run_id": ids,
        "parents": [None] + [[{"run_id": ids[0], "step": 3, "role": name}]] * (n - 1),
    }
    points = {
        **{c: keys[c] for c in keys.column_names},
        **{f"{s}_accuracy": np.linspace(0.1, 0.9, n) for s in ("train", "test")},
        "validation_accuracy": np.linspace(0.2, 0.8, n),
        f"{column} metric": np.linspace(0, 1, n),
    }
    measured = {
        **{c: keys[c] for c in keys.column_names},
        f"{column} measure": np.linspace(0, 1, n),
        "phase": [name] * n,
    }
    for place in (root, beside):
        store = catalog.open(place, create=True)
        with store.writer() as writer:
            population = Population.from_tensors(tensors, layout, keys)
            writer.commit(pa.table({**numbers, **texts}), pa.table(points), population)
            writer.commit_measures(pa.table(measured), name, {name: name})
    shutil.rmtree(beside / "runs")  # who reads it instead of the other, fails
    (beside / "runs").mkdir()
    return root


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Catalog:
    """A catalogue of its own, in a folder with the same name and the same neighbour."""
    for folder in made.parent.iterdir():
        shutil.copytree(folder, tmp_path / folder.name)
    return catalog.open(tmp_path / made.name)


def quiet(text: str) -> bool:
    """Whether nothing in some output acts but the ends of lines."""
    return not any(acts(c) for c in text.replace("\n", ""))


# ------------------------------------------------------------------------ SQL


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    with connect() as connection:
        yield connection


@given(text=st.text())
def test_a_literal_is_the_text(database: Any, text: str) -> None:
    assert database.execute(f"SELECT {literal(text)}").fetchall() == [(text,)]


@given(
    name=st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1
    )
)
def test_an_identifier_is_the_name(database: Any, name: str) -> None:
    assert database.sql(f"SELECT 1 AS {identifier(name)}").columns == [name]


@pytest.mark.parametrize("quote", [literal, identifier])
def test_half_a_character_is_refused(quote: Any) -> None:
    with pytest.raises(CatalogError, match="half of a surrogate pair"):
        quote("a\ud800")


@given(st.text("ab*?[]!^-/", max_size=12))
def test_a_pattern_matches_its_own_path_alone(name: str) -> None:
    import fnmatch

    assert fnmatch.fnmatchcase(name, file_pattern(name))
    assert not fnmatch.fnmatchcase(name + "x", file_pattern(name))


def by_hand(tree: ast.AST) -> list[str]:
    """Places of a file that seem to quote for SQL themselves."""
    found = []
    opens = re.compile(r"(=|<>|\(|,|\b(IN|LIKE|TO|FROM|ATTACH|AS|BY|SELECT|SET))\s*['\"]$")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "replace":
            given = [a.value for a in node.args if isinstance(a, ast.Constant)]
            found += [ast.unparse(node)] * (given in (["'", "''"], ['"', '""']))
        if isinstance(node, ast.JoinedStr):
            parts = node.values
            text = "".join(str(p.value) for p in parts if isinstance(p, ast.Constant))
            sql = re.search(r"\b(SELECT|FROM|WHERE|AND|IN \(|ATTACH|COPY|SET)\b", text)
            sql = sql or re.match(r"\w+ (=|<>|IN) ", text)
            for before, value in itertools.pairwise(parts):
                if (
                    sql
                    and isinstance(before, ast.Constant)
                    and isinstance(value, ast.FormattedValue)
                    and opens.search(str(before.value))
                ):
                    found.append(ast.unparse(node))
    return found


_MAY_QUOTE = r"""['"]\{|replace\(['"]{2}"""
"""In a file that could do so: most need not be parsed."""


def test_nobody_quotes_by_hand() -> None:
    files = [
        path
        for name in ("catalog", "zoo", "probes", "generators", "benchmarks", "docs")
        for path in (ROOT / name).rglob("*.py")
        if path.name != "quoting.py"
    ]
    assert len(files) > 300
    found = {
        path.relative_to(ROOT).as_posix(): places
        for path in files
        if re.search(_MAY_QUOTE, text := path.read_text())
        if (places := by_hand(ast.parse(text)))
    }
    assert not found


def test_quoting_by_hand_would_be_found() -> None:
    for line in (
        "f\"SELECT 1 WHERE zoo = '{zoo}'\"",
        "f\"zoo = '{zoo}'\"",
        "f'SELECT \"{column}\" FROM models'",
        "f\"ATTACH '{path}' AS x\"",
        "f\"FROM x WHERE a IN ('{run}', {step})\"",
        '"\'" + name.replace("\'", "\'\'") + "\'"',
    ):
        assert by_hand(ast.parse(line)), line


def test_a_place_of_a_value_inside_a_name_stays(store: Catalog, canary: Path) -> None:
    name = plain(nasty(canary))
    assert ":zoo" in name
    query = f"SELECT {identifier(name)} AS x, :zoo AS z FROM runs WHERE zoo = :zoo LIMIT 1"
    row = rows_of(store, query, zoo=nasty(canary))[0]
    assert row == {"x": nasty(canary), "z": nasty(canary)}


def test_everything_can_be_done_with_such_names(
    store: Catalog, canary: Path, tmp_path: Path
) -> None:
    name = nasty(canary)
    ids = store.sql("SELECT run_id FROM runs ORDER BY run_id").fetchall()
    assert ids == [(f"{name}{i}",) for i in range(8)]
    table = tmp_path / "added.csv"
    column = plain(name)
    quoted = [text.replace('"', '""') for text in (f"{name}0", f"{column} added")]
    table.write_text(f'run_id,"{quoted[1]}"\n"{quoted[0]}",5\n')
    assert annotate(store, table, name).columns == [f"{column} added"]
    assert annotate(store.refreshed(), table, name).checkpoints == 1
    compact(store.root)
    store = store.refreshed()
    remove(store, f"run_id = {literal(f'{name}1')}")
    collect(store.root, keep=1, grace=0, waste=0)
    store = store.refreshed()
    assert len(store.load(f"zoo = {literal(name)}", verify=True)) == 7
    query = f"SELECT {identifier(f'{column} added')}, step FROM models ORDER BY run_id"
    assert store.sql(query).fetchall()[0] == (5, 3)
    assert verify(store.root).problems == []
    shutil.rmtree(store.root / "cache")
    assert store.refreshed().sql("SELECT count(*) FROM models").fetchall() == [(7,)]
    assert not canary.exists()


@pytest.mark.parametrize("folder", ["sqlite:x", "it's", "a[b]c", "*", "x:zoo", 'q"', "md:"])
def test_the_name_of_a_folder_is_a_name(
    tmp_path: Path, folder: str, commit: Any, networks: Any, small_layout: Layout,
    monkeypatch: Any,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for place, prefix in ((folder, "own"), ("abc", "other"), ("xyz", "other")):
        store = catalog.open(place, create=True)
        commit(store, networks(small_layout, 2, prefix=prefix))
        commit(store, networks(small_layout, 2, prefix=f"{prefix}-more"))
    for _ in range(2):
        store = catalog.open(folder)
        runs = store.sql("SELECT run_id FROM models ORDER BY 1").fetchall()
        assert [run[:3] for (run,) in runs] == ["own"] * 4
        assert len(store.load(verify=True)) == 4
        compact(store.root)


# ------------------------------------------------------------ what people see


def run(capsys: Any, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def commands(store: Catalog, name: str, folder: Path) -> list[tuple[object, ...]]:
    """Every verb, as far as it goes on a catalogue like this one."""
    arch = store.sql("SELECT arch_id FROM tensors LIMIT 1").fetchall()[0][0]
    shard = store.snapshot.manifests[0].shard
    table = folder / "t.csv"
    table.write_text(f'run_id,{"x" * 3}\n"{name}",1\n')
    source = folder / f"{plain(ACTING)}.npz"
    np.savez(source, w=np.ones((2, 3), np.float32))
    return [
        ("sql", "FROM models"),
        ("sql", "FROM measures"),
        ("sql", f"SELECT {literal(name)}, error({literal(name)})"),
        ("sql", f"SELECT {name}"),
        ("sql", "FROM runs", "--to", folder / "runs.json"),
        ("sql", "FROM runs", "--to", folder / f"{plain(ACTING)}.none"),
        ("sql", "FROM runs", "--allow", folder / plain(ACTING)),
        ("ls",),
        ("cache",),
        ("cache", "--empty", name),
        ("show", name),
        ("show", f"{name}0"),
        ("show", f"{name}0@3"),
        ("show", f"{name}0@{name}"),
        ("show", shard),
        ("show", arch),
        ("show", f"{name} none"),
        ("schema",),
        ("versions",),
        ("verify",),
        ("report", "--to", folder / "r.html"),
        ("export", f"{name}0", "--to", folder / "x.safetensors"),
        ("export", "--where", "true", "--to", folder / "x.npz"),
        ("export", "--where", "true", "--to", f"{folder}/x/"),
        ("export", name, "--to", folder / "y.npz"),
        ("export", f"{name} none", "--to", folder / name.replace("/", "|")[:80]),
        ("annotate", table, "--name", name),
        ("rm", f"zoo = {literal(name)}"),
        ("rm", name),
        ("gc", "--dry-run"),
        ("gc", "--keep", name),
        ("compact",),
        ("import", source, "--zoo", name),
        ("import", source, "--format", name),
        ("import", source, "--rename", name),
        ("import", source, "--run", f"(?P<run>.*)(?P<step>{name}"),
        ("publish", name),
        ("publish", folder / "shared"),
        ("publish", folder / "shared", "--license", name),
        ("fetch", name),
        ("fetch", folder / "shared"),
        ("fetch", folder / "shared", "--revision", name),
        ("cite",),
        ("cite", name),
        ("recipes", name),
        ("train", name),
        ("measure", name),
        ("measure", name, "--metric", name),
        ("measure", name, "--set", name),
        ("downstream", name, "--only", name),
        ("phases", name),
        ("phases", name, "--plot", name),
        ("probe", name, "--target", name),
        ("probe", "statistics", "--target", name),
        ("probe", "statistics", "--target", "test_accuracy", "--where", name),
        ("generate", name),
        ("generate", "pca_gaussian", "--where", name),
        ("generate", "pca_gaussian", "--set", name),
        ("search", name, "--probe", name.replace("/", "|")[:80]),
        ("lineage",),
        ("lineage", "--where", name),
        (name,),
        ("sql", f"--{name}"),
        ("sql",),
    ]


@pytest.mark.parametrize("json_", [pytest.param(False, marks=pytest.mark.slow), True])
def test_every_verb_prints_what_acts_on_nothing(
    store: Catalog,
    canary: Path,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
    json_: bool,
) -> None:
    name, folder = nasty(canary), tmp_path / "files"
    folder.mkdir()
    monkeypatch.chdir(folder)  # a name may be that of a file to write
    monkeypatch.setenv("PHASEZOO_CACHE", str(tmp_path / "cache"))
    listed = commands(store, name, folder)
    assert {str(command[0]) for command in listed} >= set(VERBS)
    codes = []
    for command in listed[: 16 if json_ else None]:
        verb, *rest = command
        options = ["--catalog", store.root] if verb in {*VERBS} - NO_CATALOG else []
        options += ["--json"] * json_ * (verb in VERBS)
        code, out, err = run(capsys, verb, *rest, *options)
        assert code in (0, 1, 2), command
        assert out or err, command
        assert quiet(out + err), (command, out, err)
        assert "Traceback" not in err
        if code:
            assert err.startswith(("Error: ", "Usage: ", "There")), err
            assert "\nError: forged" not in err
        elif json_:
            json.loads(out)
        codes.append(code)
    assert codes.count(0) >= (9 if json_ else 15)
    assert not canary.exists()


def test_pages_are_printable_and_whole(store: Catalog, canary: Path, capsys: Any) -> None:
    name = nasty(canary)
    code, out, _ = run(capsys, "show", name, "--catalog", store.root)
    assert code == 0
    assert out.startswith(r"Zoo \x1b]0;owned\x07")
    code, told, _ = run(capsys, "show", name, "--catalog", store.root, "--json")
    assert json.loads(told)["id"] == name


def test_a_report_shows_the_names_as_text(
    store: Catalog, canary: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    assert write_report(store, tmp_path / "r.html") == [nasty(canary)]
    page = (tmp_path / "r.html").read_text()
    assert quiet(page)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<svg") >= 4
    # matplotlib writes the text of its paths beside them: nothing was taken for TeX.
    assert r"$\frac{$" in re.sub(r"&lt;|&gt;", "", page)
    assert "owned" in "".join(re.findall("<!--(.*?)-->", page, re.DOTALL))


def test_ticks_of_powers_stay_formulas() -> None:
    figure_ = pytest.importorskip("matplotlib.figure").Figure()
    from catalog.report.figure_text import save_figure

    ax, other = figure_.subplots(1, 2)
    ax.plot([1, 10, 100], [1, 10, 100])
    ax.set_xscale("log")
    other.set_xticks([0, 1], [r"$\frac{$", "b\x1b$x$"])
    other.set_title("$a$\n\x07b")
    file = io.StringIO()
    save_figure(figure_, file, format="svg")
    text = file.getvalue()
    assert "mathdefault{10^{1}}" in text
    assert r"$\frac{$" in text
    assert r"b\x1b$x$" in text
    assert r"\x07b" in text
    assert quiet(text)


def test_objects_are_printable_in_a_notebook(store: Catalog, canary: Path) -> None:
    name = nasty(canary)
    population = store.load(f"zoo = {literal(name)}")
    manifest = store.snapshot.manifests[0]
    objects = [
        store,
        population,
        store.select("true"),
        population.layout,
        population.layout.params[0],
        find_removal(store, "true"),
        store.snapshot,
        manifest,
        catalog.NotFound(name),
        verify(store.root),
        architecture_of(population, 0),
        rows_of(store, "FROM models"),
    ]
    for one in objects:
        shown = [repr(one)] + [
            str(getattr(one, kind)() or "")
            for kind in ("_repr_html_", "_repr_svg_", "_repr_markdown_", "_repr_latex_")
            if hasattr(one, kind)
        ]
        assert all(quiet(text) for text in shown), type(one)
    assert len(repr(population)) < 3000
    with pytest.raises(CatalogError) as told:
        store.layout(name)
    assert quiet(str(told.value))


def test_a_card_holds_no_front_matter_of_others(zoo: Catalog, metrics: Any) -> None:
    yaml = pytest.importorskip("yaml")
    evil = 'string\nlicense: mine\nx: "'
    names = {"a\n- config_name: b": evil, "n": "null", "é🦊": "timestamp[us, tz=\n- b]"}
    metrics(zoo, "first")
    file = zoo.refreshed().snapshot.manifests[0].files["runs"].path
    cache = zoo.root / "cache" / "columns.json"
    cache.parent.mkdir(exist_ok=True)
    cache.write_text(json.dumps({file: names}))
    metrics(zoo, "second")
    text = (zoo.root / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front.keys() == {"configs", "dataset_info"}
    (runs,) = (c for c in front["dataset_info"] if c["config_name"] == "runs")
    found = {f["name"]: f.get("dtype") for f in runs["features"]}
    assert names.items() <= found.items()
    assert {c["config_name"] for c in front["configs"]} >= {"runs", "checkpoints"}


def test_a_forged_column_name_is_a_name(zoo: Catalog, canary: Path, capsys: Any) -> None:
    """Our writers refuse such columns; a stranger's files may have them all the same."""
    record = next((zoo.root / "manifests").glob("*.json"))
    value = json.loads(record.read_bytes())
    file = value["files"]["runs"]
    path, name = zoo.root / file["path"], nasty(canary)
    table = pq.read_table(path)
    extra = pa.array([f"{name}{i}" for i in range(len(table))])
    pq.write_table(table.append_column(name, extra), path)
    data = path.read_bytes()
    file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    record.write_text(json.dumps(value))
    (zoo.root / "HEAD").unlink()
    shutil.rmtree(zoo.root / "snapshots")
    for command in (
        ("sql", "FROM models"), ("show", "zoo"), ("show", "run-0"), ("schema",),
        ("show", "run-0@0"), ("compact",), ("report", "--to", canary.parent / "r.html"),
    ):  # fmt: skip
        code, out, err = run(capsys, *command, "--catalog", zoo.root)
        assert code == 0, err
        assert quiet(out + err)
    assert not canary.exists()
