"""Fitted probes as files of the container `catalog.fitted.file`.

Nothing in the file is code: what is read is built from numbers, text and the classes
named here, so that a file of somebody else can be opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from catalog import __version__
from catalog.fitted.file import Kind
from catalog.fitted.records import Records, Special
from catalog.formats.format import Tensor
from catalog.plugins.settings import checked, settings_of_file
from probes.estimators import PROBES
from probes.exact.centring import Centring
from probes.exact.expert import Expert
from probes.layers import Dense, LowRank
from probes.learning.bases import Bases
from probes.lineage.router import Routes
from probes.probe import Probe, fitted_attributes
from probes.statistics.boosting import Boosting
from probes.statistics.shaping import Shaping
from probes.statistics.smooth import Smooth
from probes.statistics.within import Within
from probes.targets import Targets
from probes.text import TEXT_PROBES

INSTEAD = "name another file, on the command line with --to FILE"
"""What to do if a probe cannot be written; ends a sentence."""

# Format 1: what `phasezoo probe` wrote did not say which weights were learnt from.
_PROBE = Kind("probe", "probe", 2, "Write one with probes.save().", INSTEAD)


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
        "phasezoo": __version__,
        **_taken_apart(probe, "", lambda v, at: _RECORDS.encode(v, at, tensors)),
        "about": dict(about or {}),
    }
    _PROBE.write(path, body, tensors)


def load(path: str | Path) -> Probe:
    """The probe that `save` wrote.

    Raises
    ------
    ShardCorrupt
        If bytes have changed since it was written.
    CatalogError
        If the file holds something else, or was written by a newer version.
    NotFound
        If there is no such probe here.
    """
    body, tensors = _PROBE.read(path)
    with as_probe(path):
        return _rebuilt(body, lambda value: _RECORDS.decode(value, tensors, path))


def about(path: str | Path) -> dict[str, Any]:
    """What `save` was told about the probe; raises as `load`."""
    with as_probe(path):
        return dict(_PROBE.body(path)["about"])


as_probe = _PROBE.as_written
"""Tells what of a probe's file is odd, whatever that leads to; see `as_written`."""


def _taken_apart(
    probe: Probe, at: str, inside: Callable[[Any, str], Any]
) -> dict[str, Any]:
    return {
        "probe": type(probe).name,
        "params": inside(probe.get_params(deep=False), f"{at}params"),
        "fitted": inside(fitted_attributes(probe), f"{at}fitted"),
    }


def _rebuilt(body: Mapping[str, Any], inside: Callable[[Any], Any]) -> Probe:
    """A probe from its name, its parameters and what fitting left."""
    name = body["probe"]
    kind = TEXT_PROBES[name] if name in TEXT_PROBES else PROBES[name]
    params = inside(body["params"])
    with settings_of_file(f"The file of {kind.name!r}"):
        probe: Probe = kind(**checked(kind, params, f"the probe {kind.name!r}"))
    _RECORDS.give_fitted(probe, inside(body["fitted"]), f"The file of {kind.name!r}")
    return probe


def _within(probe: Probe, at: str, inside: Callable[[Any, str], Any]) -> dict[str, Any]:
    return _taken_apart(probe, f"{at}.", inside)


_RECORDS = Records(
    "probe",
    {
        "Bases": Bases, "Boosting": Boosting, "Centring": Centring, "Dense": Dense,
        "Expert": Expert, "LowRank": LowRank, "Routes": Routes, "Shaping": Shaping,
        "Smooth": Smooth, "Targets": Targets, "Within": Within,
    },
    (Special(Probe, "probe", _within, _rebuilt),),
)  # fmt: skip
