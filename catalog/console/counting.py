"""Numbers of things in words, for messages."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, in the singular for 1.

    Parameters
    ----------
    plural : str, optional
        Plural of the noun. Default: the noun with an s.

    Examples
    --------
    >>> counted(1, "network"), counted(1200, "network"), counted(0, "class", "classes")
    ('1 network', '1,200 networks', '0 classes')
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
