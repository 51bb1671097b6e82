"""Place of a published catalogue, as its card names it."""

from __future__ import annotations

from typing import NamedTuple


class Destination(NamedTuple):
    """Address and citation of a published version.

    Attributes
    ----------
    name : str
        Name for people.
    address : str
        Address that commands take; for a folder a placeholder, because its path means
        nothing to others.
    repository : str
        ``USER/NAME`` on the Hub, else empty.
    version : int
    content : str
        Hash of the committed files, as `cite` prints it.
    date : str
        Date of the newest commit, ISO 8601.
    bibtex : str
    """

    name: str
    address: str
    repository: str
    version: int
    content: str
    date: str
    bibtex: str
