"""What does not fit into memory goes to a private folder, and nowhere else."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from catalog import Catalog
from catalog.index import spill, tables

SPILLS = """
import sys
import catalog
import catalog.query.database as database

connect = database.connect

def small():
    connection = connect()
    connection.execute("SET memory_limit = '60MB'")
    connection.execute("SET threads = 1")
    return connection

database.connect = small
zoo = catalog.open(sys.argv[1])
rows = zoo.sql(
    "SELECT count(*) FROM (SELECT md5(i::VARCHAR) AS m, i FROM range(1000000) t(i) "
    "ORDER BY m DESC OFFSET 10)"
)
below = "SELECT value FROM duckdb_settings() WHERE name = 'temp_directory'"
(folder,), = zoo.sql(below).fetchall()
import os, threading
seen, done = set(), threading.Event()

def watch():
    while not done.wait(0.002):
        for _, _, files in os.walk(os.path.dirname(folder)):
            seen.update(files)

thread = threading.Thread(target=watch)
thread.start()
found = rows.fetchall()
done.set()
thread.join()
print(found[0][0], any("duckdb_temp" in name for name in seen))
print(oct(os.stat(os.path.dirname(folder)).st_mode & 0o777))
"""


def test_a_query_that_spills_leaves_nothing_anywhere(zoo: Catalog, tmp_path: Path) -> None:
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    zoo.sql("FROM models").fetchall()
    done = subprocess.run(
        [sys.executable, "-c", SPILLS, str(zoo.root)],
        cwd=here,
        env=os.environ
        | {"TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["999990", "True", "0o700"], done.stderr
    assert list(here.iterdir()) == list(temporary.iterdir()) == []


def test_every_connection_has_a_folder_of_its_own() -> None:
    folders = {spill.spill_folder() for _ in range(3)}
    assert len(folders) == 3
    assert len({os.path.dirname(folder) for folder in folders}) == 1


def test_folders_of_killed_processes_go_and_those_of_living_ones_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kill = "import os; from catalog.index.spill import spill_folder; f = spill_folder()"
    kill += "; os.mkdir(f); print(f, flush=True); os.kill(os.getpid(), 9)"
    path = os.pathsep.join(sys.path)
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": path}
    started = [sys.executable, "-c", kill]
    left = Path(
        subprocess.run(started, env=environment, stdout=subprocess.PIPE, text=True).stdout[
            :-1
        ]
    )
    assert left.exists()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spill._own_folder.cache_clear()
    try:
        own = Path(spill.spill_folder()).parent
        assert not left.parent.exists()
        subprocess.run(started, env=environment, stdout=subprocess.PIPE)
        assert own.exists()
        assert own.stat().st_mode & 0o777 == 0o700
    finally:
        spill._own_folder.cache_clear()


def test_without_a_folder_everything_has_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", refuse)
    spill._own_folder.cache_clear()
    try:
        with tables.connect() as connection:
            setting = "SELECT current_setting('temp_directory')"
            assert connection.execute(setting).fetchall() == [("",)]
            assert connection.execute("SELECT 1").fetchall() == [(1,)]
    finally:
        spill._own_folder.cache_clear()
