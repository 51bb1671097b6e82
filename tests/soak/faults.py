"""Every fault at every step of a change of the storage, see ``fault_trials.py``."""

from __future__ import annotations

import json

from fault import Fault, Scripted


class Faults(Scripted):
    """One trial for each change: all of its steps, and all that can happen there."""

    at_once = 1

    def trial(self, number: int, size: int) -> dict[str, int]:
        """Make a change again and again; steps, faults, and what came of them.

        Raises
        ------
        Fault
            If something was lost, cannot be opened or is not completed by a rerun.
        """
        found = json.loads(self._said("fault_trials.py", 0, self._seed, number))
        if found.pop("failures"):
            raise Fault(f"change {number}: {found}")
        counts: dict[str, int] = found
        return counts
