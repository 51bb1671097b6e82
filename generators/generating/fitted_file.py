"""Files of fitted generators with the provenance of the fit."""

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
"""Names in messages of the parts of a fit's provenance."""


def is_fitted(path: Path, request: Request) -> bool:
    """Return whether a file exists; raise unless it holds the requested fit.

    Raises
    ------
    CatalogError
        If the file holds another fit, or does not record what it was fitted to.
    """
    if not path.exists():
        return False
    stored, requested = generator_about(path).get("fit"), request.fit_provenance
    if stored == requested:
        return True
    advice = "Name another file with --to, or delete it."
    if stored is None:
        raise CatalogError(
            f"{path} holds the generator {generator_name(path)!r} and does not say what it "
            f"was fitted to, as save() in Python or an older version wrote it. {advice}"
        )
    differences = [
        _difference(key, stored, requested)
        for key in _WORDS
        if stored.get(key) != requested[key]
    ]
    raise CatalogError(
        f"{path} holds another generator: {'; '.join(differences)}. {advice}"
    )


def load_or_fit(
    request: Request,
    path: Path,
    sides: Mapping[str, Population],
    announce: Callable[[str], None],
) -> Generator:
    """Load the requested generator from its file, or fit it and write the file.

    Raises
    ------
    CatalogError
        If the generator rejects the networks, or the file holds another fit.
    """
    if is_fitted(path, request):
        announce(f"Fitted before: {path}")
        return open_generator(path)
    validation = sides["validation"] if len(sides["validation"]) else None
    try:
        generator = request.generator.fit(
            sides["train"], validation, label=request.generator.name
        )
    except ValueError as error:
        if isinstance(error, CatalogError):
            raise
        raise CatalogError(
            f"{request.generator.name!r} cannot be fitted: {error}"
        ) from error
    save_generator(generator, path, {"fit": request.fit_provenance})
    return generator


def fitted_path(request: Request, places: Sequence[Path]) -> Path | None:
    """Return the first of several files that holds the requested fit."""
    for place in places:
        if place.exists() and generator_about(place).get("fit") == request.fit_provenance:
            return place
    return None


def copy_fitted(place: Path, path: Path) -> None:
    """Copy the file of a generator to another path.

    Raises
    ------
    ShardCorrupt
        If bytes have changed since the file was written.
    CatalogError
        If the other file cannot be written.
    """
    generator_name(place)
    with place.open("rb") as source, whole_file(path, instead=INSTEAD) as file:
        shutil.copyfileobj(source, file)


def _difference(key: str, stored: Mapping[str, Any], requested: Mapping[str, Any]) -> str:
    stored_part, requested_part = stored.get(key), requested[key]
    if isinstance(stored_part, Mapping) and isinstance(requested_part, Mapping):
        names = [
            n
            for n in {**stored_part, **requested_part}
            if stored_part.get(n) != requested_part.get(n)
        ]
        return f"other {_WORDS[key]} ({', '.join(names)})"
    return f"{_WORDS[key]} {stored_part!r}, not {requested_part!r}"
