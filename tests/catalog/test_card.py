"""README.md of a catalogue, as `datasets` reads it."""

import fcntl
import re
from pathlib import Path
from typing import Any

import pytest

from catalog import Catalog, writer
from catalog.card import write_card


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
