"""The grammar of permutation symbols: which units an axis has, and what is within them."""

from __future__ import annotations

from typing import NamedTuple

from catalog.errors import LayoutMismatch


class AxisSymbol(NamedTuple):
    """What permutes an axis.

    Attributes
    ----------
    name : str
        The units of the axis, major.
    block : int
        Consecutive positions that each of them spans.
    inner : str or None
        What permutes the positions within a unit; None if they stay in order.
    """

    name: str
    block: int = 1
    inner: str | None = None


def read_symbol(symbol: str) -> AxisSymbol:
    """The parts of a permutation symbol.

    Raises
    ------
    LayoutMismatch
        If it is none of ``"name"``, ``"name*9"`` and ``"name*9:inner"``.

    Examples
    --------
    >>> read_symbol("conv3*9")
    AxisSymbol(name='conv3', block=9, inner=None)
    >>> read_symbol("head0*8:qk0")
    AxisSymbol(name='head0', block=8, inner='qk0')
    """
    name, star, rest = symbol.partition("*")
    block, colon, inner = rest.partition(":")
    known = block.isdecimal() and int(block) > 0 and name and bool(inner) == bool(colon)
    if star and not (known and "*" not in inner):
        raise LayoutMismatch(
            f"Axis symbol {symbol!r} must be a name; a name, '*' and the positions that a "
            "unit spans, such as 'conv3*9'; or that with ':' and the name of what permutes "
            "them within a unit, such as 'head0*8:qk0'."
        )
    return AxisSymbol(name, int(block) if star else 1, inner or None)


def split_symbol(symbol: str) -> tuple[str, int]:
    """Name of a permutation symbol and the positions that each of its units spans.

    Examples
    --------
    >>> split_symbol("hidden"), split_symbol("conv3*9")
    (('hidden', 1), ('conv3', 9))
    """
    return read_symbol(symbol)[:2]
