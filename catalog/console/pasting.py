"""Words of the commands that errors tell people to paste into a shell."""

from __future__ import annotations

import re
import shlex

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_ACTS = re.compile(r'[$`"\\!\n]')
"""Characters that mean something between double quotes."""


def word(text: object) -> str:
    """Return text as one word of a shell command, whatever it holds.

    Examples
    --------
    >>> print(word("digits"), word("zoo = 'digits'"), word("$(reboot)"))
    digits "zoo = 'digits'" '$(reboot)'
    """
    own = str(text)
    if _PLAIN.fullmatch(own):
        return own
    return shlex.quote(own) if _ACTS.search(own) else f'"{own}"'
