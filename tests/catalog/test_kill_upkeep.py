"""Kills at every system call that changes the folder: nothing lost, nothing half visible.

A child process is forked for every trial. It does one thing to the catalogue and kills
itself right before or after its n-th rename, deletion, file creation or sync, so that
every boundary between two states of the disk is met, not only those that last.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import catalog

TRIALS = Path(__file__).with_name("kill_trials.py")


def kill(tmp_path: Path, trials: int, seed: int) -> int:
    """Run trials in a process of their own; the number of kills."""
    root = tmp_path / "zoo"
    catalog.open(root, create=True)
    done = subprocess.run(
        [sys.executable, str(TRIALS), str(root), str(trials), str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


def test_a_few_kills_at_system_calls_lose_nothing(tmp_path: Path) -> None:
    assert kill(tmp_path, trials=12, seed=3) > 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_thousand_kills_at_system_calls_lose_nothing(tmp_path: Path, seed: int) -> None:
    assert kill(tmp_path, trials=400, seed=seed) >= 250
