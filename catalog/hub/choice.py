"""Choice of the file that holds the weights of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catalog.console.pasting import word
from catalog.errors import CatalogError, closest
from catalog.formats.sharded import INDEX, is_part
from catalog.hub.address import ModelAddress

_SUFFIX = ".safetensors"
_NAMES = (f"model{_SUFFIX}", f"model{INDEX}", f"adapter_model{_SUFFIX}")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5")
_SHOWN = 10


def chosen_file(address: ModelAddress, files: Sequence[str]) -> str:
    """Return the safetensors file, or the index of several, that holds the weights.

    Parameters
    ----------
    address : ModelAddress
        Model, which may name the file.
    files : sequence of str
        Paths of all files of the repository.

    Raises
    ------
    CatalogError
        If there is no such file, or several that may be meant; the error lists them.
    """
    if address.file:
        if not address.file.endswith((_SUFFIX, INDEX)):
            raise CatalogError(
                f"{address}: only safetensors files are read over the network. Name a file "
                f"that ends in {_SUFFIX} or {INDEX}."
            )
        if address.file not in files:
            raise CatalogError(
                f"{address}: the repository has no such file. "
                f"{closest(address.file, _candidates(files) or files)}"
            )
        return address.file
    for name in _NAMES:
        if name in files:
            return name
    candidates = _candidates(files)
    at_root = [path for path in candidates if "/" not in path]
    if len(at_root) == 1:
        return at_root[0]
    if not candidates:
        raise CatalogError(f"{address} has no safetensors file. {_instead(files)}")
    listed = "\n".join(
        f"  phasezoo import {word(address._replace(file=path))}"
        for path in candidates[:_SHOWN]
    )
    more = len(candidates) - _SHOWN
    raise CatalogError(
        f"{address} has {len(candidates):,} files that may be meant; name one:\n{listed}"
        + (f"\n  and {more:,} more" if more > 0 else "")
    )


def _candidates(files: Sequence[str]) -> list[str]:
    """Return files that are whole networks: no parts, but indexes of parts."""
    return [
        path
        for path in files
        if path.endswith(INDEX) or (path.endswith(_SUFFIX) and not is_part(Path(path)))
    ]


def _instead(files: Sequence[str]) -> str:
    pickles = [path for path in files if path.lower().endswith(_PICKLES)]
    if not pickles:
        return f"It has {len(files):,} files, none with weights in a known form."
    more = ", ..." if len(pickles) > _SHOWN else ""
    return (
        f"It has {', '.join(pickles[:_SHOWN])}{more}; pickles and other formats are not "
        "read over the network. Ask the publisher for safetensors, or download the files "
        "and import them from the folder."
    )
