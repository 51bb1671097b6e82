"""Former import paths of documented modules, which work with a warning until 0.3.0."""

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
"""New module names by old names."""


class MovedModules(MetaPathFinder, Loader):
    """Finder and loader of modules under their former names.

    Parameters
    ----------
    moved : mapping of str to str
        New module names by old names.
    """

    def __init__(self, moved: Mapping[str, str]) -> None:
        self._moved = moved

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a module spec for an old name, None for any other name."""
        return spec_from_loader(fullname, self) if fullname in self._moved else None

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module with the names of the module that replaced it."""
        new = self._moved[module.__name__]
        warnings.warn(
            f"{module.__name__} is now {new}; version 0.3.0 removes the old name.",
            DeprecationWarning,
            stacklevel=2,
        )
        names = vars(import_module(new))
        vars(module).update({k: v for k, v in names.items() if not k.startswith("__")})


def keep_old_names() -> None:
    """Make the modules of `MOVED` importable under their old names."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules(MOVED))
