"""What trials raise, and those that run in processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parent


class Fault(AssertionError):
    """Something is not as it must be."""


class Scripted:
    """Trials that a script of ``tests/catalog`` makes, some at once.

    Parameters
    ----------
    folder : Path
        Where they work.
    seed : int
    """

    at_once = 40
    """Trials that one process makes."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._home, self._folder, self._seed = folder / "trial", folder, seed

    def keep(self, number: int) -> None:
        """Keep what trials left, to look at."""
        shutil.copytree(self._home, self._folder / f"fault-{number}", dirs_exist_ok=True)

    def _said(self, script: str, *words: object, inside: str = "") -> str:
        """What a script prints that works inside a new folder, or a fault."""
        shutil.rmtree(self._home, ignore_errors=True)
        self._home.mkdir()
        done = subprocess.run(
            [sys.executable, SCRIPTS / script, self._home / inside, *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        told = f"{script} {' '.join(map(str, words))}"
        at = done.stderr.find("FAILED")
        if done.returncode or at >= 0:
            end = done.stderr[at : at + 3000] if at >= 0 else done.stderr[-3000:]
            raise Fault(f"{told}: {end}")
        return done.stdout
