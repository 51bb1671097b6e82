"""Damaged and hostile files, see ``attack_trials.py`` and ``attack_imports.py``."""

from __future__ import annotations

import json

from fault import Fault, Scripted

CATALOGUES = {
    "shards": 25, "metadata": 12, "manifests": 13, "orphans": 15, "heads": 15, "forged": 2,
    "indexes": 1, "links": 2,
}  # fmt: skip
IMPORTS = {"numpy": 11, "torch": 4}
"""Mutants of each kind in a hundred."""


class Attacks(Scripted):
    """Mutants of a catalogue, and of foreign files; all kinds in their shares."""

    at_once = 500

    def trial(self, number: int, size: int) -> dict[str, int]:
        """Make some mutants and look at them; how many there were of each kind.

        Raises
        ------
        Fault
            If an answer is neither an error with text nor the committed numbers, or
            `verify` is never asked.
        """
        seed = self._seed * 1000 + number
        counts = {kind: -(-share * size // 100) for kind, share in CATALOGUES.items()}
        words = [word for pair in counts.items() for word in pair]
        outcomes = self._outcomes("attack_trials.py", seed, *words)
        asked = outcomes.get("verify answered", 0) + outcomes.get("verify refused", 0)
        if asked <= sum(counts.values()) // 2:
            raise Fault(f"verify was asked {asked} times: {outcomes}")
        for kind, share in IMPORTS.items():
            counts[kind] = -(-share * size // 100)
            outcomes = self._outcomes("attack_imports.py", seed, kind, counts[kind])
            if sum(outcomes.values()) != counts[kind]:
                raise Fault(f"of {counts[kind]} {kind} came {outcomes}")
        return counts

    def _outcomes(self, script: str, *words: object) -> dict[str, int]:
        """How often what came of the mutants."""
        found: dict[str, int] = json.loads(self._said(script, *words).splitlines()[-1])
        if found.pop("failures"):
            raise Fault(f"{script} {words}: {found}")
        return found
