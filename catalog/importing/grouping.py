"""Runs and steps by the names of networks, as the importer says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from catalog.errors import CatalogError
from catalog.formats.format import Network

_EXAMPLE = r"'(?P<run>.*)/e(?P<step>[0-9]+)[.]pt'"


def grouped(networks: Iterable[Network], pattern: str) -> Iterator[Network]:
    """Networks with the run and the step that a pattern finds in their names.

    Parameters
    ----------
    pattern : str
        Regular expression for a whole name, with the groups ``run`` and ``step``.

    Raises
    ------
    CatalogError
        If the pattern lacks a group, a name does not match it, or a step is no number.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise CatalogError(
            f"--run {pattern!r} is no regular expression: {error}. Expected one such as "
            f"{_EXAMPLE}"
        ) from error
    if missing := {"run", "step"} - expression.groupindex.keys():
        raise CatalogError(
            f"--run {pattern!r} has no group {min(missing)!r}; it needs run and step, as "
            f"{_EXAMPLE} has."
        )
    return (_placed(network, expression) for network in networks)


def _placed(network: Network, expression: re.Pattern[str]) -> Network:
    found = expression.fullmatch(network.name)
    if found is None or not found["run"] or found["step"] is None:
        raise CatalogError(
            f"--run {expression.pattern!r} does not match the name {network.name!r}, or "
            "finds no run or no step in it; it must match every whole name."
        )
    if not re.fullmatch("[0-9]{1,18}", found["step"]):
        raise CatalogError(
            f"--run {expression.pattern!r} finds the step {found['step']!r} in "
            f"{network.name!r}; a step is a whole number."
        )
    return replace(network, run_name=found["run"], step=int(found["step"]))
