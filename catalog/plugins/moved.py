"""Import paths of before that the documentation named: they work until 0.3.0, and warn."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

MOVED = {
    "catalog.export": "catalog.formats.export",
    "catalog.foreign": "catalog.formats.format",
    "probes.text.cli": "probes.search.cli",
    "zoo.activation_matching": "zoo.merging.activation_matching",
    "zoo.barrier": "zoo.landscape.barrier",
    "zoo.export": "zoo.modules.export",
    "zoo.repair": "zoo.merging.repair",
    "zoo.soup": "zoo.merging.soup",
}
"""New module by old one."""


class MovedModules(MetaPathFinder, Loader):
    """Finds modules under the names that they had.

    Parameters
    ----------
    moved : mapping of str to str
        New name by old one.
    """

    def __init__(self, moved: Mapping[str, str]) -> None:
        self._moved = moved

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for an old name, None for any other."""
        return spec_from_loader(fullname, self) if fullname in self._moved else None

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module with the names of the one that took its place."""
        new = self._moved[module.__name__]
        warnings.warn(
            f"{module.__name__} is {new} now; the old name goes with 0.3.0.",
            DeprecationWarning,
            stacklevel=2,
        )
        found = vars(import_module(new))
        vars(module).update({k: v for k, v in found.items() if not k.startswith("__")})


def keep_old_names() -> None:
    """Make the modules of `MOVED` importable under their old names."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules(MOVED))
