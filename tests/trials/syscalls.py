"""Kills of the storage around its changes of the folder, see ``kill_trials.py``."""

from __future__ import annotations

from fault import Scripted


class SystemCalls(Scripted):
    """Trials in one catalogue, over and over; a new one for each process."""

    def trial(self, number: int, size: int) -> dict[str, int]:
        """Run some trials; how many killed."""
        seed = 1000 * self._seed + number
        return {"kills": int(self._said("kill_trials.py", size, seed, inside="zoo"))}
