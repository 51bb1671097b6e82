"""Things of one kind by name: what a package exports, and what entry points announce."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from catalog.errors import CatalogError, NotFound, closest

Thing = TypeVar("Thing")


class Registry(Mapping[str, Thing]):
    """Named things of one kind.

    Those of ours are the exports of a package: the line in its ``__init__`` is the
    registration. Other distributions announce theirs as entry points of the group
    ``phasezoo.`` and the plural of `what`; nothing of others is imported before it is
    asked for.

    Parameters
    ----------
    what : str
        The kind in words, such as ``"task"``.
    kind : type
        Class of the things, or of which they are subclasses; each has a ``name``.
    package : str, optional
        The package that exports ours. Default: all of them are entry points.

    Examples
    --------
    >>> things = Registry("thing", CatalogError)
    >>> "no such" in things, list(things)
    (False, [])
    """

    def __init__(self, what: str, kind: type, package: str | None = None) -> None:
        self.what, self.group = what, f"phasezoo.{what.replace(' ', '_')}s"
        self._kind, self._package = kind, package

    def __getitem__(self, name: str) -> Thing:
        """Return the thing of a name.

        Raises
        ------
        NotFound
            If there is none, with the closest names.
        CatalogError
            If several have the name, or an entry point leads to something else.
        """
        own, points = self._own(), self._points()
        if name in own and name not in points:
            return own[name]
        if name not in points:
            raise NotFound(f"No {self.what} {name!r}. {closest(name, self)}")
        if name in own or len(points[name]) > 1:
            others = [f"{p.value} of {_distribution(p)}" for p in points[name]]
            raise CatalogError(
                f"Several {self.what}s are called {name!r}: "
                f"{', '.join([*(['ours'] if name in own else []), *others])}. Uninstall "
                "all but one."
            )
        found = points[name][0].load()
        if not self._fits(found):
            raise CatalogError(
                f"The entry point {name} = {points[name][0].value} of "
                f"{_distribution(points[name][0])} must be a {self._kind.__name__}. "
                f"Got {found!r}."
            )
        thing: Thing = found
        return thing

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._own(), *self._points()}))

    def __len__(self) -> int:
        return len({*self._own(), *self._points()})

    def __contains__(self, name: object) -> bool:
        return name in self._own() or name in self._points()

    def _own(self) -> dict[str, Thing]:
        exports = vars(sys.modules[self._package]) if self._package else {}
        return {str(thing.name): thing for thing in exports.values() if self._fits(thing)}

    def _points(self) -> dict[str, list[EntryPoint]]:
        return _announced(self.group)

    def _fits(self, thing: object) -> bool:
        if isinstance(thing, type):
            return issubclass(thing, self._kind) and thing is not self._kind
        return isinstance(thing, self._kind)


@functools.cache
def _announced(group: str) -> dict[str, list[EntryPoint]]:
    """Entry points of a group by name; what is installed later is seen by new processes."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, []).append(point)
    return found


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown distribution"
