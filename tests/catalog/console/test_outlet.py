"""One outlet prints; it prints what the terminal can show, and nothing that acts."""

import ast
import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import catalog
from catalog import CatalogError, LayoutMismatch, NotFound, ShardCorrupt
from catalog.console.outlet import encodable, note, say, warning_text
from catalog.console.program import print_json
from catalog.console.progress import Progress
from catalog.console.table import table_lines

ROOT = Path(catalog.__file__).parent.parent
PRINTING = {"print", "echo", "secho", "pprint", "writelines"}
MARKS = (*PRINTING, "std", "os.write", "showwarning", "print_exc")
"""A file without one of these prints nothing."""

MAY_PRINT = {
    "catalog/console/outlet.py",
    "catalog/console/progress.py",
    "zoo/workers/serving.py",
}
"""The last one speaks to its parent process, not to people."""

NASTY = "\x1b]0;owned\x07\x9b2J\u202etxt.exe\u200b\x7f\u2028x\nError: forged\r\t"
SHOWN = r"\x1b]0;owned\x07\x9b2J\u202etxt.exe\u200b\x7f\u2028x\nError: forged\r\t"


def calls(tree: ast.AST) -> list[str]:
    """Names of everything in a file that could print."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else None
            name = node.func.id if isinstance(node.func, ast.Name) else name
            found += [str(name)] * (name in PRINTING)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in (
            "sys.stdout.write", "sys.stderr.write", "sys.__stdout__", "sys.__stderr__",
            "os.write", "warnings.showwarning", "traceback.print_exc",
        ):  # fmt: skip
            found.append(ast.unparse(node))
    return found


def test_nothing_prints_beside_the_outlet() -> None:
    packages = [ROOT / name for name in ("catalog", "zoo", "probes", "generators")]
    files = [path for package in packages for path in package.rglob("*.py")]
    assert len(files) > 300
    printing = {
        path.relative_to(ROOT).as_posix(): found
        for path in files
        if any(word in (text := path.read_text()) for word in MARKS)
        if (found := calls(ast.parse(text)))
    }
    assert printing.keys() <= MAY_PRINT, printing
    assert "catalog/console/outlet.py" in printing


def test_figures_are_saved_in_one_place() -> None:
    saving = [
        path.relative_to(ROOT).as_posix()
        for name in ("catalog", "zoo", "probes", "generators")
        for path in (ROOT / name).rglob("*.py")
        if ".savefig(" in path.read_text()
    ]
    assert saving == ["catalog/report/figure_text.py"]


def test_lines_are_one_line_each(capsys: Any) -> None:
    say(NASTY)
    note(NASTY)
    say()
    assert capsys.readouterr() == (f"{SHOWN}\n\n", f"{SHOWN}\n")


def test_progress_is_printable(capsys: Any) -> None:
    Progress(2, NASTY, NASTY).close(1)
    err = capsys.readouterr().err
    assert SHOWN in err
    assert err[:-1].isprintable()


def test_json_keeps_what_it_escapes(capsys: Any) -> None:
    print_json([{NASTY: NASTY, "é": "🦊"}])
    out = capsys.readouterr().out
    assert json.loads(out) == [{NASTY: NASTY, "é": "🦊"}]
    assert '"é": "🦊"' in out
    assert out.replace("\n", "").isprintable()


def test_a_stream_gets_what_its_encoding_has() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert encodable("aé🦊", stream) == r"a\xe9\U0001f98a"
    assert encodable("aé🦊", io.StringIO()) == "aé🦊"


@pytest.mark.parametrize("kind", [CatalogError, ShardCorrupt, LayoutMismatch, NotFound])
def test_errors_are_printable_and_forge_no_line(kind: type[CatalogError]) -> None:
    text = str(kind(f"zoo {NASTY} is wrong"))
    first, second = text.split("\n")
    assert first.isprintable()
    assert second == "  Error: forged\\r\\t is wrong"
    assert repr(kind(NASTY)).isprintable()


def test_tables_are_printable_and_aligned() -> None:
    lines = table_lines([{NASTY: NASTY, "x": 1}, {NASTY: "a", "x": 2}])
    assert all(line.isprintable() for line in lines)
    assert len({line.rstrip()[-1] for line in lines[2:]} & {"1", "2"}) == 2
    assert len({len(line) for line in lines[1:]}) == 1


def test_a_warning_is_one_printable_line() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn(NASTY, UserWarning, stacklevel=1)
    told = caught[0]
    text = warning_text(told.message, told.category, told.filename, told.lineno)
    assert text == f"UserWarning: {SHOWN}\n"


def run(code: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        env={**os.environ, **env},
    )


def test_a_fault_is_told_without_acting() -> None:
    done = run(
        "import sys, warnings\n"
        "from catalog.console.outlet import install\n"
        "install()\n"
        f"warnings.warn({NASTY!r})\n"
        f"raise ValueError({NASTY!r})\n"
    )
    text = done.stderr.decode()
    assert done.returncode == 1
    assert "ValueError: " in text
    assert "This is a fault of phasezoo" in text
    assert text.replace("\n", "").isprintable()


def test_a_terminal_of_few_characters_gets_escapes(tmp_path: Path) -> None:
    catalog.open(tmp_path, create=True)
    query = "SELECT 'é' AS x, 'a🦊' AS y"
    verb = f"['sql', {query!r}, '--catalog', {str(tmp_path)!r}"
    code = f"from catalog.console.program import main; main({verb}, *EXTRA])"
    plain = run(code.replace("*EXTRA", ""), PYTHONIOENCODING="ascii")
    assert plain.returncode == 0
    assert rb"\xe9  a\U0001f98a" in plain.stdout
    told = run(code.replace("*EXTRA", "'--json'"), PYTHONIOENCODING="ascii")
    assert json.loads(told.stdout) == [{"x": "é", "y": "a🦊"}]
