"""Quoting of words in the commands that error messages suggest."""

from __future__ import annotations

import re
import shlex

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_ACTS = re.compile(r'[$`"\\!\n]')
"""Characters that a shell interprets within double quotes."""


def word(text: object) -> str:
    """Quote any text as one word of a shell command.

    Examples
    --------
    >>> print(word("digits"), word("zoo = 'digits'"), word("$(reboot)"))
    digits "zoo = 'digits'" '$(reboot)'
    """
    plain = str(text)
    if _PLAIN.fullmatch(plain):
        return plain
    return shlex.quote(plain) if _ACTS.search(plain) else f'"{plain}"'
