"""Choice of some tensors of a network by patterns of their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from catalog.errors import CatalogError, closest
from catalog.formats.format import Network

_COMPARED = 2_000
"""Names that an error compares with a pattern, as a comparison is slow."""


def check_patterns(patterns: Sequence[str]) -> None:
    """Raise a CatalogError if a pattern of tensor names is empty."""
    if isinstance(patterns, str) or not all(patterns):
        raise CatalogError(
            f"tensors must be a list of patterns such as ['*.weight']. Got {patterns!r}."
        )


def chosen_names(where: object, names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that match one of some patterns, in their order.

    Parameters
    ----------
    where : object
        Name of the network in errors.
    names : iterable of str
        Names of all its tensors.
    patterns : sequence of str
        Patterns with ``*``, ``?`` and ``[...]`` for whole names; none choose all tensors.

    Raises
    ------
    CatalogError
        If a pattern matches no name.

    Examples
    --------
    >>> chosen_names("a", ["0.weight", "0.bias", "1.weight"], ["*.weight"])
    ['0.weight', '1.weight']
    """
    listed = list(names)
    if not patterns:
        return listed
    chosen: set[str] = set()
    for pattern in patterns:
        matches = [name for name in listed if fnmatchcase(name, pattern)]
        if not matches:
            raise CatalogError(
                f"{where} has no tensor that matches --tensors {pattern!r}. "
                f"{closest(pattern, listed[:_COMPARED])}"
            )
        chosen.update(matches)
    return [name for name in listed if name in chosen]


def with_chosen_tensors(
    networks: Iterable[Network], patterns: Sequence[str]
) -> Iterator[Network]:
    """Yield networks with the tensors that match one of some patterns.

    Raises
    ------
    CatalogError
        If a pattern matches no tensor of a network.
    """
    for network in networks:
        tensors = network.tensors or {}
        names = chosen_names(network.name, tensors, patterns)
        if len(names) == len(tensors):
            yield network
        else:  # an architecture builds all tensors
            chosen = {name: tensors[name] for name in names}
            yield replace(network, tensors=chosen, architecture=None)
