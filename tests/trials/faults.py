"""Every fault at every step of every change of a catalogue, see ``fault_trials.py``."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from fault import Fault
from fault_trials import Trials


class Faults:
    """All of them, in an order that the seed draws."""

    at_once = 1

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        shutil.rmtree(folder / "trial", ignore_errors=True)
        (folder / "trial").mkdir()
        self._trials = Trials(folder / "trial")
        self._jobs = self._trials.jobs()
        random.Random(seed).shuffle(self._jobs)
        self.trials = len(self._jobs)

    def trial(self, number: int, size: int) -> dict[str, int]:
        """Make one change, let it end at one step; how it ended.

        Raises
        ------
        Fault
            If anything is not as it must be.
        """
        before = dict(self._trials.made)
        try:
            self._trials.run(*self._jobs[number])
        except SystemExit as error:
            raise Fault(str(error)) from error
        made = self._trials.made
        return {k: n - before.get(k, 0) for k, n in made.items() if n > before.get(k, 0)}

    def keep(self, number: int) -> None:
        """Keep what the trial left, to look at."""
        left = self._folder / "trial" / "scratch"
        shutil.copytree(left, self._folder / f"fault-{number}", dirs_exist_ok=True)
