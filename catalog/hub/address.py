"""Addresses of models of the Hub: ``hf://USER/MODEL[@REV][/FILE]``, and lists of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from catalog.console.pasting import word
from catalog.errors import CatalogError

LARGEST_LIST = 16 << 20
"""Bytes of a list of models above which it is refused."""

_SCHEME = "hf://"
_MOST = 5
_NAME = r"[A-Za-z0-9_][\w.-]{0,95}"
_MODEL = re.compile(
    rf"(?P<repository>{_NAME}/{_NAME})"
    r"(?:@(?P<revision>refs/(?:pr|convert)/[\w.-]{1,99}|[\w.%+-]{1,200}))?"
    r"(?:/(?P<file>[^\x00-\x1f\x7f]{1,1000}))?",
    re.ASCII,
)
_OTHER_KINDS = ("datasets", "spaces", "models", "buckets")


class ModelAddress(NamedTuple):
    """Address of a model of the Hub.

    Attributes
    ----------
    repository : str
        ``USER/MODEL``.
    revision : str
        Branch, tag or commit; empty for the branch ``main``.
    file : str
        Path of a file in the repository; empty for the file that the names of the files
        suggest.
    """

    repository: str
    revision: str = ""
    file: str = ""

    @property
    def name(self) -> str:
        """Address without its scheme: the name of the network in a catalogue."""
        revision = f"@{self.revision}" if self.revision else ""
        file = f"/{self.file}" if self.file else ""
        return f"{self.repository}{revision}{file}"

    def __str__(self) -> str:
        return f"{_SCHEME}{self.name}"


def is_model_source(source: str | Path) -> bool:
    """Return True for an address with ``hf://``, and for a text file that lists models."""
    text = str(source)
    return text.startswith(_SCHEME) or _is_list(text)


def parse_model_address(text: str) -> ModelAddress:
    """Read the address of a model; ``hf://`` may be missing.

    Raises
    ------
    CatalogError
        If the text has another form.

    Examples
    --------
    >>> parse_model_address("hf://lab/vit@v1/weights/a.safetensors")
    ModelAddress(repository='lab/vit', revision='v1', file='weights/a.safetensors')
    """
    match = _MODEL.fullmatch(text.removeprefix(_SCHEME).removesuffix("/"))
    user = text.removeprefix(_SCHEME).partition("/")[0]
    if user == "datasets":
        raise CatalogError(
            f"{text!r} is a data set of the Hub. If it is a catalogue of phasezoo: "
            f"phasezoo fetch {word(text)}"
        )
    if match is None or user in _OTHER_KINDS:
        raise CatalogError(
            f"{text!r} is no address of a model. Expected hf://USER/MODEL, "
            "hf://USER/MODEL@REVISION or hf://USER/MODEL/FILE.safetensors."
        )
    revision, file = unquote(match["revision"] or ""), match["file"] or ""
    if not _is_plain(revision or "x") or not _is_plain(file or "x"):
        raise CatalogError(f"{text!r}: a revision and a file have no parts like '..'.")
    return ModelAddress(match["repository"], "" if revision == "main" else revision, file)


def model_addresses(sources: Iterable[str | Path]) -> list[ModelAddress]:
    """Return the models that some sources name, each once, in their order.

    Parameters
    ----------
    sources : iterable of str or Path
        Addresses, and text files with one address a line.

    Raises
    ------
    CatalogError
        If a source or a line has another form; the error names lines by number.
    """
    found: dict[ModelAddress, None] = {}
    for source in sources:
        text = str(source)
        if _is_list(text):
            found |= dict.fromkeys(_listed(Path(text)))
        else:
            found[parse_model_address(text)] = None
    return list(found)


def _is_list(text: str) -> bool:
    return not text.startswith(_SCHEME) and text.endswith(".txt") and Path(text).is_file()


def _listed(path: Path) -> list[ModelAddress]:
    """Read a list: one address a line, with comments that begin with #."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_LIST + 1)
        if len(text) > LARGEST_LIST:
            raise CatalogError(
                f"{path} has more than {LARGEST_LIST:,} bytes; expected a list of models."
            )
        lines = text.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, CatalogError):
            raise
        raise CatalogError(f"{path} cannot be read as text: {error}") from error
    addresses, faults = [], []
    for number, line in enumerate(lines, 1):
        name = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
        try:
            addresses += [parse_model_address(name)] if name else []
        except CatalogError as error:
            faults.append(f"line {number}: {error}")
    if faults:
        more = f"\nand {len(faults) - _MOST:,} more" if len(faults) > _MOST else ""
        raise CatalogError(
            f"{path} must have one model a line, such as USER/MODEL or "
            "hf://USER/MODEL@REVISION.\n" + "\n".join(faults[:_MOST]) + more
        )
    if not addresses:
        raise CatalogError(f"{path} names no model; expected one a line.")
    return addresses


def _is_plain(path: str) -> bool:
    return path.isprintable() and not {"", ".", ".."} & set(path.split("/"))
