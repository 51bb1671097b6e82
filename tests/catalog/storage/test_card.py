"""README.md of a catalogue, as `datasets` reads it."""

import fcntl
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from catalog import Catalog, writer
from catalog.schema import PARENTS
from catalog.storage.card import write_card


def configurations(text: str) -> dict[str, list[str]]:
    """Files by configuration name, parsed without a YAML library."""
    found: dict[str, list[str]] = {}
    for line in text.split("---\n")[1].splitlines():
        if match := re.fullmatch(r"- config_name: (\S+)", line):
            files = found.setdefault(match[1], [])
        elif match := re.fullmatch(r"    - (\S+)", line):
            files.append(match[1])
    return found


@pytest.fixture
def readme(zoo: Catalog, metrics: Any, measure: Any) -> Path:
    metrics(zoo, "bare")
    measure(zoo, [{"run_id": "bare", "step": 0, "x": 1.5}])
    return zoo.root / "README.md"


def test_every_file_stands_in_one_configuration(zoo: Catalog, readme: Path) -> None:
    text = readme.read_text()
    named = configurations(text)
    manifests = zoo.refreshed().snapshot.manifests
    files = {
        file.path for m in manifests for kind, file in m.files.items() if kind != "measures"
    }
    listed = [path for paths in named.values() for path in paths]
    assert sorted(listed) == sorted(files)
    assert {m.arch_id for m in manifests if m.arch_id} <= named.keys()
    assert text.count("default: true") == 1


def test_a_readme_that_somebody_wrote_is_kept(
    zoo: Catalog, readme: Path, metrics: Any
) -> None:
    metrics(zoo, "more")
    assert len(configurations(readme.read_text())["runs"]) == 3
    readme.write_bytes(b"mine \xff")
    metrics(zoo, "again")
    assert readme.read_bytes() == b"mine \xff"


def test_it_is_written_under_the_commit_lock(
    zoo: Catalog, metrics: Any, monkeypatch: Any
) -> None:
    """Else a sweep takes its temporary file for a leftover."""
    calls = []

    def locked(*arguments: Any) -> None:
        lock = (zoo.root / "writers" / "commit.lock").open("rb")
        with lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        calls.append(write_card(*arguments))

    monkeypatch.setattr(writer, "write_card", locked)
    metrics(zoo, "more")
    assert len(calls) == 1


def test_datasets_reads_every_configuration(
    zoo: Catalog, readme: Path, tmp_path: Path
) -> None:
    """The oracle is `datasets` itself."""
    pytest.importorskip("datasets")
    from datasets import get_dataset_config_names, load_dataset

    for name, paths in configurations(readme.read_text()).items():
        rows = sum(
            file.rows
            for m in zoo.refreshed().snapshot.manifests
            for file in m.files.values()
            if file.path in paths
        )
        found = load_dataset(str(zoo.root), name, cache_dir=str(tmp_path))
        assert {split: len(table) for split, table in found.items()} == {"train": rows}
    assert get_dataset_config_names(str(zoo.root))[0] in configurations(readme.read_text())


def test_datasets_unites_shards_with_columns_of_their_own(
    new_zoo: Any, networks: Any, small_layout: Any, tmp_path: Path
) -> None:
    """Else the columns of the first file are all that there may be."""
    datasets = pytest.importorskip("datasets")
    zoo = new_zoo()
    free = [
        {"activation": ["relu"], "n: 'a\"": [1]},
        {"clipped": [True], "n: 'a\"": [0.5]},
        {"activation": [7]},
        {},
    ]
    for i, columns in enumerate(free):
        run_ids = [f"r{i}"]
        runs = {"run_id": run_ids, "zoo": ["z"], "source": ["imported"], **columns}
        table = {"run_id": run_ids, "step": [i], **({"ece": [0.1]} if i else {})}
        with zoo.writer() as writer:  # the second card knows the first shard's columns
            writer.commit(pa.table(runs), pa.table(table))

    def load(name: str | None) -> dict[str, Any]:
        cache = str(tmp_path / str(name))
        loaded = datasets.load_dataset(str(zoo.root), name, split="train", cache_dir=cache)
        return dict(zip(loaded["run_id"], loaded.to_list(), strict=True))

    runs = load("runs")
    wanted = {
        "r0": ("relu", None, 1.0),
        "r1": (None, True, 0.5),
        "r2": ("7", None, None),
        "r3": (None, None, None),
    }
    names = ("activation", "clipped", "n: 'a\"")
    assert {k: tuple(row[n] for n in names) for k, row in runs.items()} == wanted
    assert {row["zoo"] for row in runs.values()} == {"z"}
    assert [row["ece"] for row in load(None).values()] == [None, 0.1, 0.1, 0.1]


def test_parents_survive_a_card_with_columns(zoo: Catalog, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parents = pa.array([[{"run_id": "p", "step": 3, "role": "start"}]], PARENTS)
    runs = {"run_id": ["c"], "zoo": ["z"], "source": ["derived"], "free": [1.5]}
    with zoo.writer() as writer:
        table = pa.table(runs).append_column("parents", parents)
        writer.commit(table, pa.table({"run_id": ["c"], "step": [0]}))
    loaded = datasets.load_dataset(
        str(zoo.root), "runs", split="train", cache_dir=str(tmp_path)
    )
    found = {row["run_id"]: row["parents"] for row in loaded.to_list()}
    assert found["c"] == [{"run_id": "p", "step": 3, "role": "start"}]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", None])
def test_the_list_of_columns_is_a_cache(zoo: Catalog, metrics: Any, damage: Any) -> None:
    metrics(zoo, "a", free=[1])
    before = (zoo.root / "README.md").read_text()
    cache = zoo.root / "cache" / "columns.json"
    if damage is None:
        cache.unlink()
    else:
        cache.write_bytes(damage)
    metrics(zoo, "b")
    after = (zoo.root / "README.md").read_text()
    assert '- name: "free"' in before
    assert after.split("dataset_info:")[1] == before.split("dataset_info:")[1]
