"""A few of the long trials of `benchmarks/soak.py`: a twentieth of each, seeded."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


def soak(folder: Path, name: str, trials: int, seed: int = 1) -> dict[str, Any]:
    """Run trials in a process of their own; what came of them."""
    words = [name, "--trials", str(trials), "--seed", str(seed), "--folder", str(folder)]
    done = subprocess.run(
        [sys.executable, str(SOAK), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr[-3000:]
    assert done.stdout, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["faults"] == []
    assert found["trials"] == trials
    return found


def test_trials_go_on_where_they_were_ended(tmp_path: Path) -> None:
    """And a few kills of the storage at its system calls lose nothing."""
    first = soak(tmp_path / "x", "syscalls", 10)
    again = soak(tmp_path / "x", "syscalls", 10)
    assert again["seconds"] == first["seconds"]  # nothing was done
    more = soak(tmp_path / "x", "syscalls", 24)
    assert more["counts"]["kills"] > first["counts"]["kills"] > 0
    state = tmp_path / "x.json"
    state.write_text(state.read_text().replace(more["code"], "another"))
    with pytest.raises(AssertionError, match="was begun with code another"):
        soak(tmp_path / "x", "syscalls", 24)


@pytest.mark.slow
def test_kills_of_all_verbs_lose_nothing_and_are_completed(tmp_path: Path) -> None:
    found = soak(tmp_path / "x", "kills", 25)
    assert found["counts"]["kills"] > 12


@pytest.mark.slow
def test_kills_at_system_calls_lose_nothing(tmp_path: Path) -> None:
    assert soak(tmp_path / "x", "syscalls", 80)["counts"]["kills"] > 40


@pytest.mark.slow
def test_faults_lose_nothing(tmp_path: Path) -> None:
    counts = soak(tmp_path / "x", "faults", 480)["counts"]
    assert counts["killed"] > 40
    assert counts["refused"] > 40


@pytest.mark.slow
def test_damaged_files_are_told_or_give_the_committed_numbers(tmp_path: Path) -> None:
    counts = soak(tmp_path / "x", "attacks", 500)["counts"]
    assert sum(counts.values()) == 500
    assert len(counts) == 10


@pytest.mark.slow
def test_writers_beside_readers_lose_nothing(tmp_path: Path) -> None:
    counts = soak(tmp_path / "x", "writers", 1)["counts"]
    assert min(counts["commits"], counts["reads"], counts["packs"]) > 0
