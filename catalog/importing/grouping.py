"""Runs and steps from the names of networks, by a pattern of the user."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from catalog.errors import CatalogError
from catalog.formats.format import Network

_EXAMPLE = r"'(?P<run>.*)/e(?P<step>[0-9]+)[.]pt'"


def grouped(networks: Iterable[Network], pattern: str) -> Iterator[Network]:
    """Yield networks with the run and the step that a pattern finds in their names.

    Parameters
    ----------
    networks : iterable of Network
        The networks.
    pattern : str
        Regular expression for a whole name, with the groups ``run`` and ``step``.

    Raises
    ------
    CatalogError
        If the pattern lacks a group, a name does not match the pattern, or a step is not
        a whole number.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise CatalogError(
            f"--run {pattern!r} is not a regular expression: {error}. Expected, for "
            f"example, {_EXAMPLE}"
        ) from error
    if missing := {"run", "step"} - expression.groupindex.keys():
        raise CatalogError(
            f"--run {pattern!r} has no group {min(missing)!r}; it needs run and step, for "
            f"example {_EXAMPLE}"
        )
    return (_placed(network, expression) for network in networks)


def _placed(network: Network, expression: re.Pattern[str]) -> Network:
    match = expression.fullmatch(network.name)
    if match is None or not match["run"] or match["step"] is None:
        raise CatalogError(
            f"--run {expression.pattern!r} does not match the name {network.name!r}, or "
            "finds no run or no step in it. The pattern must match the whole name of every "
            "network."
        )
    if not re.fullmatch("[0-9]{1,18}", match["step"]):
        raise CatalogError(
            f"--run {expression.pattern!r} finds the step {match['step']!r} in "
            f"{network.name!r}; a step must be a whole number."
        )
    return replace(network, run_name=match["run"], step=int(match["step"]))
