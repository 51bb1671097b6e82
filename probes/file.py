"""Fitted probes as one safetensors file: arrays as tensors, the rest as JSON text.

Nothing in the file is code: what is read is built from numbers, text and the classes
named here, so that a file of somebody else can be opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from catalog import CatalogError, __version__
from catalog.fitted.as_written import as_written
from catalog.fitted.records import Records, Special
from catalog.formats.format import Tensor
from catalog.formats.safetensors_file import read_header, read_tensors, write_file
from catalog.storage.whole_file import whole_file
from probes.estimators import PROBES
from probes.exact.centring import Centring
from probes.exact.expert import Expert
from probes.layers import Dense, LowRank
from probes.learning.bases import Bases
from probes.lineage.router import Routes
from probes.probe import Probe, fitted
from probes.statistics.boosting import Boosting
from probes.statistics.shaping import Shaping
from probes.statistics.smooth import Smooth
from probes.statistics.within import Within
from probes.targets import Targets
from probes.text import TEXT_PROBES

_FORMAT = 2
"""1: what `phasezoo probe` wrote did not say which weights were learnt from."""

INSTEAD = "name another file, on the command line with --to FILE"
"""What to do if a probe cannot be written; ends a sentence."""


def save(probe: Probe, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
    """Write a fitted probe.

    Parameters
    ----------
    path : str or Path
        A safetensors file.
    about : mapping, optional
        What else is known, such as the query its networks came from: JSON values.

    Raises
    ------
    CatalogError
        If the probe holds something that is no data, or the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    body = {
        "format": _FORMAT,
        "phasezoo": __version__,
        **_taken_apart(probe, "", lambda v, at: _RECORDS.encode(v, at, tensors)),
        "about": dict(about or {}),
    }
    text = json.dumps(body, allow_nan=True)
    with whole_file(path, instead=INSTEAD) as file:
        write_file(file, tensors, {"probe": text})


def load(path: str | Path) -> Probe:
    """The probe that `save` wrote.

    Raises
    ------
    CatalogError
        If the file holds something else, or was written by a newer version.
    NotFound
        If there is no such probe here.
    """
    path = Path(path)
    body = _read(path)
    tensors = {name: tensor.values for name, tensor in read_tensors(path).items()}
    with as_probe(path):
        return _rebuilt(body, lambda value: _RECORDS.decode(value, tensors, path))


def about(path: str | Path) -> dict[str, Any]:
    """What `save` was told about the probe."""
    with as_probe(path):
        return dict(_read(Path(path))["about"])


def as_probe(path: str | Path) -> AbstractContextManager[None]:
    """Tell what of a probe's file is odd, whatever that leads to; see `as_written`."""
    return as_written(path, "a probe", "Fetch the file again, or fit the probe again.")


def _read(path: Path) -> dict[str, Any]:
    text = read_header(path).metadata.get("probe")
    if text is None:
        raise CatalogError(f"{path} holds no probe; write one with probes.save().")
    with as_probe(path):
        body: dict[str, Any] = json.loads(text)
        if body["format"] > _FORMAT:
            raise CatalogError(
                f"{path} was written by phasezoo {body['phasezoo']}, which is newer. "
                "Upgrade: pip install -U phasezoo"
            )
        return body


def _taken_apart(
    probe: Probe, at: str, inside: Callable[[Any, str], Any]
) -> dict[str, Any]:
    return {
        "probe": type(probe).name,
        "params": inside(probe.get_params(deep=False), f"{at}params"),
        "fitted": inside(fitted(probe), f"{at}fitted"),
    }


def _rebuilt(body: Mapping[str, Any], inside: Callable[[Any], Any]) -> Probe:
    """A probe from its name, its parameters and what fitting left."""
    name = body["probe"]
    kind = TEXT_PROBES[name] if name in TEXT_PROBES else PROBES[name]
    probe: Probe = kind(**inside(body["params"]))
    _RECORDS.give_fitted(probe, inside(body["fitted"]), f"The file of {kind.name!r}")
    return probe


def _within(probe: Probe, at: str, inside: Callable[[Any, str], Any]) -> dict[str, Any]:
    return _taken_apart(probe, f"{at}.", inside)


_RECORDS = Records(
    "probe",
    {
        c.__name__: c
        for c in (
            Bases, Boosting, Centring, Dense, Expert, LowRank, Routes, Shaping, Smooth,
            Targets, Within,
        )
    },
    (Special(Probe, "probe", _within, _rebuilt),),
)  # fmt: skip
