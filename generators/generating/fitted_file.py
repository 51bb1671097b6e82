"""Files of fitted generators that say what they follow from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog import CatalogError, Population
from catalog.storage.whole_file import whole_file
from generators.file import INSTEAD, generator_about, generator_name, save_generator
from generators.generating.plan import Request
from generators.generator import Generator
from generators.registry import open_generator

_WORDS = {
    "generator": "name",
    "settings": "settings",
    "networks": "networks",
    "code": "version of phasezoo",
}
"""Of the parts of a fit's provenance."""


def is_fitted(path: Path, request: Request) -> bool:
    """Whether a file is there, and holds the fit that is asked for.

    Raises
    ------
    CatalogError
        If it holds another one, or does not say which.
    """
    if not path.exists():
        return False
    kept, asked = generator_about(path).get("fit"), request.fit_provenance
    if kept == asked:
        return True
    advice = "Name another file with --to, or delete it."
    if kept is None:
        raise CatalogError(
            f"{path} holds the generator {generator_name(path)!r} and does not say what it "
            f"was fitted to: save() in Python or an older version wrote it. {advice}"
        )
    other = [_difference(key, kept, asked) for key in _WORDS if kept.get(key) != asked[key]]
    raise CatalogError(f"{path} holds another generator: {'; '.join(other)}. {advice}")


def load_or_fit(
    request: Request,
    path: Path,
    sides: Mapping[str, Population],
    announce: Callable[[str], None],
) -> Generator:
    """The generator in the file, if it is the one asked for; else fitted, and put there.

    Raises
    ------
    CatalogError
        If the generator refuses the networks, or the file holds another.
    """
    if is_fitted(path, request):
        announce(f"Fitted before: {path}")
        return open_generator(path)
    validation = sides["validation"] if len(sides["validation"]) else None
    try:
        found = request.generator.fit(
            sides["train"], validation, label=request.generator.name
        )
    except ValueError as error:
        if isinstance(error, CatalogError):
            raise
        raise CatalogError(f"{request.generator.name!r} refuses: {error}") from error
    save_generator(found, path, {"fit": request.fit_provenance})
    return found


def fitted_path(request: Request, places: Sequence[Path]) -> Path | None:
    """The first file that holds the fit that is asked for."""
    for place in places:
        if place.exists() and generator_about(place).get("fit") == request.fit_provenance:
            return place
    return None


def copy_fitted(place: Path, path: Path) -> None:
    """Put the generator of a file into another.

    Raises
    ------
    ShardCorrupt
        If bytes have changed since it was written.
    CatalogError
        If the other file cannot be written.
    """
    generator_name(place)
    with place.open("rb") as source, whole_file(path, instead=INSTEAD) as file:
        shutil.copyfileobj(source, file)


def _difference(key: str, kept: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    theirs, ours = kept.get(key), asked[key]
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        names = [n for n in {**theirs, **ours} if theirs.get(n) != ours.get(n)]
        return f"other {_WORDS[key]} ({', '.join(names)})"
    return f"{_WORDS[key]} {theirs!r}, not {ours!r}"
