"""Damaged and hostile files, see ``attack_trials.py`` and ``attack_imports.py``."""

from __future__ import annotations

import json

from fault import Fault, Scripted

SHARES = {
    "shards": 25, "metadata": 12, "manifests": 13, "orphans": 15, "heads": 15,
    "forged": 2, "indexes": 1, "links": 2, "numpy": 11, "torch": 4,
}  # fmt: skip
"""Mutants of each kind in a hundred."""

IMPORTS = ("numpy", "torch")


class Attacks(Scripted):
    """Mutants of a catalogue, and of foreign files; all kinds in their shares."""

    at_once = 500

    def trial(self, number: int, size: int) -> dict[str, int]:
        """Make some mutants and look at them; how many there were of each kind.

        Raises
        ------
        Fault
            If an answer is neither an error with text nor the committed numbers, or
            `verify` was not asked or finds nothing.
        """
        counts = {}
        for kind, share in SHARES.items():
            count = -(-share * size // 100)
            script = "attack_imports.py" if kind in IMPORTS else "attack_trials.py"
            said = self._said(script, kind, count, self._seed * 1000 + number)
            outcomes = json.loads(said.splitlines()[-1])
            asked = outcomes.get("verify answered", 0) + outcomes.get("verify refused", 0)
            if outcomes.get("failures") or (kind not in IMPORTS and 2 * asked < count):
                raise Fault(f"{kind} {count}: {outcomes}")
            counts[kind] = count
        return counts
