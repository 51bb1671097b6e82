"""Registries of plugins by name, from the exports of a package and from entry points."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from catalog.errors import BrokenPlugin, NotFound, closest

Thing = TypeVar("Thing")

_OURS = "phasezoo"
"""Distribution whose errors are faults, or missing extras, that the command line names."""


class Registry(Mapping[str, Thing]):
    """Mapping of names to plugins of one kind.

    The plugins of phasezoo are the exports of a package: the import in its ``__init__`` is
    the registration. Other distributions register plugins as entry points of the group
    ``phasezoo.`` followed by the plural of `what`; an entry point is imported only when
    its plugin is requested.

    Parameters
    ----------
    what : str
        Noun of the kind, such as ``"task"``.
    kind : type
        Class whose instances or subclasses are the plugins; each plugin has a ``name``.
    package : str, optional
        Package that exports the plugins of phasezoo. Default: none, all plugins are entry
        points.

    Examples
    --------
    >>> things = Registry("thing", BrokenPlugin)
    >>> "no such" in things, list(things)
    (False, [])
    """

    def __init__(self, what: str, kind: type, package: str | None = None) -> None:
        self.what, self.group = what, f"phasezoo.{what.replace(' ', '_')}s"
        self._kind, self._package = kind, package

    def __getitem__(self, name: str) -> Thing:
        """Return the plugin with a name.

        Raises
        ------
        NotFound
            If no plugin has the name; the error lists the closest names.
        BrokenPlugin
            If several plugins have the name, or its entry point cannot be loaded or loads
            an object of another kind.
        """
        exports, points = self._own(), self._points()
        if name in exports and name not in points:
            return exports[name]
        if name not in points:
            raise NotFound(f"No {self.what} {name!r}. {closest(name, self)}")
        if name in exports or len(points[name]) > 1:
            providers = [f"{p.value} of {_distribution(p)}" for p in points[name]]
            raise BrokenPlugin(
                f"Several {self.what}s are called {name!r}: "
                f"{', '.join([*(['phasezoo'] if name in exports else []), *providers])}. "
                "Uninstall all but one."
            )
        loaded = self._loaded(points[name][0])
        if not self._fits(loaded):
            raise BrokenPlugin(
                f"The entry point {name} = {points[name][0].value} of "
                f"{_distribution(points[name][0])} must be a {self._kind.__name__}. "
                f"Got {loaded!r}."
            )
        thing: Thing = loaded
        return thing

    def usable(self, tell: Callable[[str], None]) -> dict[str, Thing]:
        """Return all plugins by name, without those that cannot be loaded.

        Parameters
        ----------
        tell : callable
            Called with a sentence about each plugin that is left out.
        """
        plugins = {}
        for name in self:
            try:
                plugins[name] = self[name]
            except BrokenPlugin as error:
                tell(str(error))
        return plugins

    def _loaded(self, point: EntryPoint) -> Any:
        """Import a plugin; an import of another distribution may raise anything."""
        try:
            return point.load()
        except Exception as error:
            if point.dist is not None and point.dist.name == _OURS:
                raise
            reason = " ".join(str(error).split())
            raise BrokenPlugin(
                f"The {self.what} {point.name!r} of {_distribution(point)} cannot be "
                f"loaded from {point.value}: {type(error).__name__}: {reason}. Update or "
                "uninstall that distribution."
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._own(), *self._points()}))

    def __len__(self) -> int:
        return len({*self._own(), *self._points()})

    def __contains__(self, name: object) -> bool:
        return name in self._own() or name in self._points()

    def _own(self) -> dict[str, Thing]:
        exports = vars(sys.modules[self._package]) if self._package else {}
        return {str(value.name): value for value in exports.values() if self._fits(value)}

    def _points(self) -> dict[str, list[EntryPoint]]:
        return _announced(self.group)

    def _fits(self, thing: object) -> bool:
        if isinstance(thing, type):
            return issubclass(thing, self._kind) and thing is not self._kind
        return isinstance(thing, self._kind)


@functools.cache
def _announced(group: str) -> dict[str, list[EntryPoint]]:
    """Return the entry points of a group by name, cached for the life of the process."""
    points_by_name: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        points_by_name.setdefault(point.name, []).append(point)
    return points_by_name


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown distribution"
