"""Finding what a package re-exports: the re-export line is the registration."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from catalog import NotFound
from catalog.errors import closest


def public(package: ModuleType, kind: type) -> dict[str, Any]:
    """Instances and subclasses of ``kind`` that a package exports, by their name."""
    found = {}
    for value in vars(package).values():
        is_class = isinstance(value, type) and issubclass(value, kind) and value is not kind
        if is_class or isinstance(value, kind):
            found[str(value.name)] = value
    return dict(sorted(found.items()))


def lookup(package: ModuleType, kind: type, name: str) -> Any:
    """One of them by name.

    Raises
    ------
    NotFound
        If there is none, with the closest names.
    """
    known = public(package, kind)
    if name not in known:
        raise NotFound(f"No {kind.__name__.lower()} {name!r}. {closest(name, known)}")
    return known[name]
