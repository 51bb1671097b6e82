"""Trees of models, by the names of the base models that their cards state.

Cards are written by hand, so a model may be called its own ancestor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from catalog.hub.address import ModelAddress

Bases = Mapping[str, Sequence[str]]
"""Names of the base models by name of a model."""


def bases_first(addresses: Sequence[ModelAddress], bases: Bases) -> list[ModelAddress]:
    """Return addresses in their order, except that base models come before their models.

    Examples
    --------
    >>> child, base = ModelAddress("a/child"), ModelAddress("a/base")
    >>> [address.name for address in bases_first([child, base], {"a/child": ["a/base"]})]
    ['a/base', 'a/child']
    """
    revisions: dict[str, list[ModelAddress]] = {}
    for address in addresses:
        revisions.setdefault(address.repository, []).append(address)
    ordered: list[ModelAddress] = []
    entered: set[str] = set()
    for first in revisions:
        stack = [(first, False)]
        while stack:
            name, left = stack.pop()
            if left:
                ordered += revisions.get(name, [])
            elif name not in entered:
                entered.add(name)
                stack.append((name, True))
                stack += [(base, False) for base in reversed(bases.get(name, ()))]
    return ordered


def roots(name: str, bases: Bases) -> tuple[str, ...]:
    """Return the names of the models at the roots of a model's tree, in order of name.

    In a circle of models, the first name of all stands for it.

    Examples
    --------
    >>> roots("a/merge", {"a/merge": ["a/tuned", "b/base"], "a/tuned": ["b/base"]})
    ('b/base',)
    """
    seen, stack = {name}, [name]
    found = set()
    while stack:
        current = stack.pop()
        above = [base for base in bases.get(current, ()) if base != current]
        if not above:
            found.add(current)
        stack += [base for base in above if base not in seen]
        seen.update(above)
    return tuple(sorted(found)) or (min(seen),)
