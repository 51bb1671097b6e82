"""Whose scales may be balanced: the units that prove to be rectified."""

from __future__ import annotations

from catalog import Population
from catalog.alignment import Outputs, SymmetryBroken, check_symmetries, scalable


def rectified(population: Population, check: Outputs) -> tuple[str, ...]:
    """Symbols of plain layers whose units may be rescaled without changing outputs.

    Parameters
    ----------
    check : callable
        Outputs of weights, such as `zoo.modules.outputs` gives.

    Raises
    ------
    SymmetryBroken
        If permuting a symbol changes the outputs.
    """
    found = list(scalable(population.layout))
    while found:
        try:
            check_symmetries(population.weights, population.layout, check, scaled=found)
        except SymmetryBroken as broken:
            if broken.symbol not in found:
                raise
            found.remove(broken.symbol)  # tried again without; a permutation fails again
        else:
            return tuple(found)
    check_symmetries(population.weights, population.layout, check)
    return ()
