"""Run a script that can import the base package and its extra `probes`, and no more.

Usage: only_base_and_probes.py SCRIPT ARGUMENT...

It stands for a new environment with ``pip install 'phasezoo[probes]'``, which a machine
without a network cannot make: any module of another installed distribution is refused as
if it were not there.
"""

import importlib.metadata
import re
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

from packaging.requirements import Requirement


def needed(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    """Return the names of a distribution and of all that it needs."""
    names: set[str] = set()
    waiting = [(name, extras)]
    while waiting:
        distribution, wanted = waiting.pop()
        names.add(plain(distribution))
        for line in importlib.metadata.requires(distribution) or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if any(not marker or marker.evaluate({"extra": e}) for e in ("", *wanted)):
                following = requirement.name, tuple(requirement.extras)
                if plain(requirement.name) not in names:
                    waiting.append(following)
    return names


def plain(name: str) -> str:
    """Return the normal form of the name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Refusal(MetaPathFinder):
    """Finder that refuses modules of installed distributions other than the named ones."""

    def __init__(self, names: set[str]) -> None:
        self._refused = {
            module
            for module, distributions in importlib.metadata.packages_distributions().items()
            if not names & {plain(distribution) for distribution in distributions}
        }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        """Raise `ModuleNotFoundError` for what is refused; leave the rest to others."""
        if fullname.partition(".")[0] in self._refused:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


if __name__ == "__main__":
    refusal = Refusal(needed("phasezoo", ("probes",)))
    for module in [m for m in sys.modules if m.partition(".")[0] in refusal._refused]:
        del sys.modules[module]
    sys.meta_path.insert(0, refusal)
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
