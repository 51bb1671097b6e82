"""`verify` finds every changed byte of fitted things below the catalogue."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from catalog import Catalog
from catalog.cli import verify as verb
from catalog.fitted.file import Kind
from catalog.formats.format import Tensor
from catalog.formats.safetensors_file import write_file
from catalog.upkeep.verify import verify

TENSORS = {"m": Tensor(np.float32([1, -2, 3]), "float32")}
NAMES = ("probes/a.safetensors", "generators/b.safetensors", "probes/deep/c", "probes/d")


@pytest.fixture(scope="module")
def zoo(new_zoo: Any, commit: Any, networks: Any, small_layout: Any) -> Catalog:
    """Fitted things beside a shard, and what is none; tests put back what they change."""
    found = new_zoo()
    commit(found, networks(small_layout, 3))
    for name in NAMES:
        (found.root / name).parent.mkdir(parents=True, exist_ok=True)
        kind = name.split("/")[0][:-1]
        Kind(kind, kind, 1, "").write(found.root / name, {"n": 5}, TENSORS)
    for name in ("generators/b.json", "generators/b.svg", "probes/notes"):
        (found.root / name).write_text("{}")
    return found.refreshed()


def wrong(zoo: Catalog) -> list[tuple[str, str]]:
    return [(p.path, p.detail) for p in verify(zoo.root, sweep=False).problems]


def test_sound_files_are_counted_and_no_problem(zoo: Catalog) -> None:
    recorded = [f for m in zoo.snapshot.manifests for f in m.files.values()]
    sizes = [(zoo.root / name).stat().st_size for name in NAMES]
    seen: list[tuple[int, int]] = []
    result = verify(zoo.root, progress=lambda done, total: seen.append((done, total)))
    assert (result.problems, result.unchecked) == ([], [])
    assert result.files == len(recorded) + len(NAMES)
    assert result.bytes == sum(f.bytes for f in recorded) + sum(sizes)
    assert seen[-1] == (result.bytes, result.bytes)


@given(st.data())
def test_every_changed_byte_is_a_problem(zoo: Catalog, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES[:2]))
    path = zoo.root / name
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    changed = whole[:at] + bytes([byte]) + whole[at + 1 :]
    try:
        for content in (changed, whole[:at]):
            path.write_bytes(content)
            ((told, detail),) = wrong(zoo)
            assert told == name
            assert str(path) in detail
    finally:
        path.write_bytes(whole)


def test_a_damaged_file_has_no_say_in_what_is_swept(zoo: Catalog) -> None:
    path, left = zoo.root / NAMES[0], zoo.root / "probes/.a.safetensors.0123abcd.tmp"
    whole = path.read_bytes()
    left.write_bytes(whole[:-9])
    try:
        path.write_bytes(whole[:-1] + b"\xff")
        result = verify(zoo.root)
    finally:
        path.write_bytes(whole)
    assert [p.path for p in result.problems] == [NAMES[0]]
    assert (result.leftovers, result.swept) == ([f"probes/{left.name}"], True)
    assert not left.exists()


def earlier(path: Path, metadata: dict[str, str]) -> None:
    with path.open("wb") as file:
        write_file(file, TENSORS, metadata)


def test_files_without_a_digest_are_counted(zoo: Catalog) -> None:
    names = ["generators/other.safetensors", "probes/old"]
    earlier(zoo.root / names[0], {})
    earlier(zoo.root / names[1], {"probe": "{}"})
    try:
        result = verify(zoo.root)
        assert (result.problems, sorted(result.unchecked)) == ([], names)
        told = CliRunner().invoke(verb, ["--catalog", str(zoo.root)])
        assert told.exit_code == 0
        assert "not checkable  2 files of fitted" in told.output
        assert f"{result.files} files" in told.output
        told = CliRunner().invoke(verb, ["--catalog", str(zoo.root), "--json"])
        assert sorted(json.loads(told.output)["unchecked"]) == names
        (zoo.root / names[1]).write_bytes((zoo.root / names[1]).read_bytes()[:-1])
        assert [path for path, _ in wrong(zoo)] == [names[1]]
    finally:
        for name in names:
            (zoo.root / name).unlink()


def test_a_generator_of_before_has_a_digest(zoo: Catalog) -> None:
    path = zoo.root / "generators/old.safetensors"
    earlier(path, {"generator": "{}", "digest": "0" * 64})
    try:
        ((told, detail),) = wrong(zoo)
        assert told == "generators/old.safetensors"
        assert "has changed since it was written" in detail
    finally:
        path.unlink()


def test_links_that_lead_outside_and_pipes_are_told(zoo: Catalog, tmp_path: Path) -> None:
    link, pipe = zoo.root / "probes/link", zoo.root / "generators/pipe.safetensors"
    link.symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(pipe)
    try:
        found = dict(wrong(zoo))
    finally:
        link.unlink()
        pipe.unlink()
    assert set(found) == {"probes/link", "generators/pipe.safetensors"}
    assert "is a link that leads out" in found["probes/link"]
    assert "is a pipe" in found["generators/pipe.safetensors"]
