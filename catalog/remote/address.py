"""Addresses of catalogues: a folder, ``hf://``, ``s3://`` or ``https://``."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from catalog.errors import CatalogError

_HUB = re.compile(
    r"hf://datasets/(?P<repository>[\w.-]{1,96}/[\w.-]{1,96})"
    r"(?:@(?P<revision>[\w./-]{1,200}))?/?"
)
_S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")


class Address(NamedTuple):
    """Location of a catalogue.

    Attributes
    ----------
    kind : {"folder", "hf", "s3", "http"}
    place : str
        Folder, repository, bucket or URL.
    prefix : str
        Part of an S3 bucket, without slashes at its ends.
    revision : str
        Revision of a Hub repository; empty for its main branch.
    """

    kind: str
    place: str
    prefix: str = ""
    revision: str = ""

    def __str__(self) -> str:
        if self.kind == "hf":
            return f"hf://datasets/{self.place}"
        if self.kind == "s3":
            return f"s3://{self.place}/{self.prefix}".rstrip("/")
        return self.place

    @property
    def id(self) -> str:
        """Name for files about this address; the same for every revision."""
        return hashlib.sha256(f"{self.kind} {self}".encode()).hexdigest()[:16]


def pinned(address: Address, revision: str | None) -> tuple[Address, int | None]:
    """Return the address at a revision, and the version for stores that count versions.

    Raises
    ------
    CatalogError
        If the address names another revision, or the store has numbers and this is none.
    """
    if revision is None:
        return address, None
    if address.kind == "hf":
        if address.revision and address.revision != revision:
            raise CatalogError(
                f"The address names revision {address.revision!r} and --revision "
                f"{revision!r}; name one of them."
            )
        return parse_address(f"{address}@{revision}"), None
    if not revision.isdigit():
        raise CatalogError(
            f"{address} has versions with numbers. Got --revision {revision!r}."
        )
    return address, int(revision)


def is_url(text: str) -> bool:
    """Report if text is an address other than a folder."""
    return re.match(r"[a-z0-9]+://", text) is not None


def parse_address(text: str) -> Address:
    """Read the address of a catalogue.

    Raises
    ------
    CatalogError
        If the text has the form of no address, or holds a password.

    Examples
    --------
    >>> parse_address("hf://datasets/lab/zoo@v1")
    Address(kind='hf', place='lab/zoo', prefix='', revision='v1')
    >>> parse_address("s3://bucket/a/b/").prefix
    'a/b'
    """
    if not is_url(text):
        if not text:
            raise CatalogError(
                "The address of a catalogue is empty. Name a folder or a URL."
            )
        return Address("folder", str(Path(text).expanduser().absolute()))
    if match := _HUB.fullmatch(text):
        return Address("hf", match["repository"], "", match["revision"] or "")
    if match := _S3.fullmatch(text):
        prefix = (match["prefix"] or "").strip("/")
        if ".." not in prefix.split("/"):
            return Address("s3", match["bucket"], prefix)
    parts = urlsplit(text)
    if parts.scheme in ("http", "https") and parts.hostname:
        if parts.username is not None or parts.password is not None:
            raise CatalogError(
                f"{parts.scheme}://{parts.hostname}: an address holds no user and no "
                "password. Only anonymous web folders can be fetched."
            )
        if parts.query or parts.fragment:
            raise CatalogError(
                f"{parts.scheme}://{parts.hostname}{parts.path}: the address of a web "
                "folder ends with its path, without ? and #."
            )
        return Address("http", text.rstrip("/"))
    raise CatalogError(
        f"{text!r} is no address of a catalogue. Use hf://datasets/USER/NAME, "
        "s3://BUCKET/PREFIX, https://HOST/FOLDER or a folder."
    )
