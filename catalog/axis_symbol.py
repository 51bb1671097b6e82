"""Grammar of permutation symbols: the units of an axis and the positions within a unit."""

from __future__ import annotations

from typing import NamedTuple

from catalog.errors import LayoutMismatch


class AxisSymbol(NamedTuple):
    """Parts of a permutation symbol.

    Attributes
    ----------
    name : str
        Name of the units that are permuted along the axis (the major order).
    block : int
        Number of consecutive positions that each unit spans.
    inner : str or None
        Symbol that permutes the positions within a unit; None if they stay in order.
    """

    name: str
    block: int = 1
    inner: str | None = None


def read_symbol(symbol: str) -> AxisSymbol:
    """Parse a permutation symbol.

    Raises
    ------
    LayoutMismatch
        If the symbol is none of ``"name"``, ``"name*9"`` and ``"name*9:inner"``.

    Examples
    --------
    >>> read_symbol("conv3*9")
    AxisSymbol(name='conv3', block=9, inner=None)
    >>> read_symbol("head0*8:qk0")
    AxisSymbol(name='head0', block=8, inner='qk0')
    """
    name, star, rest = symbol.partition("*")
    block, colon, inner = rest.partition(":")
    valid = block.isdecimal() and int(block) > 0 and name and bool(inner) == bool(colon)
    if star and not (valid and "*" not in inner):
        raise LayoutMismatch(
            f"Axis symbol {symbol!r} is not valid. It must be NAME; NAME*POSITIONS, where "
            "every unit spans so many positions, such as 'conv3*9'; or "
            "NAME*POSITIONS:INNER, where the symbol INNER permutes the positions within a "
            "unit, such as 'head0*8:qk0'."
        )
    return AxisSymbol(name, int(block) if star else 1, inner or None)


def split_symbol(symbol: str) -> tuple[str, int]:
    """Return the name of a permutation symbol and the positions that each unit spans.

    Examples
    --------
    >>> split_symbol("hidden"), split_symbol("conv3*9")
    (('hidden', 1), ('conv3', 9))
    """
    return read_symbol(symbol)[:2]
