"""Saving and loading of fitted probes in the container of `catalog.fitted.file`.

A file contains no code: a probe is rebuilt from numbers, text and the classes named in this
module, so it is safe to open a file of unknown origin.
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
"""Advice for a probe that cannot be written; ends a sentence."""

# Format 1: files that `phasezoo probe` wrote did not record the training weights.
_PROBE = Kind("probe", "probe", 2, "Write one with probes.save().", INSTEAD)


def save(probe: Probe, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
    """Write a fitted probe to a file.

    Parameters
    ----------
    path : str or Path
        Path of the safetensors file to write.
    about : mapping, optional
        Further facts to store as JSON values, such as the query that selected the training
        networks.

    Raises
    ------
    CatalogError
        If the probe holds a value that is not data, or the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    body = {
        "phasezoo": __version__,
        **_parts(probe, "", lambda value, at: _RECORDS.encode(value, at, tensors)),
        "about": dict(about or {}),
    }
    _PROBE.write(path, body, tensors)


def load(path: str | Path) -> Probe:
    """Read a probe that `save` wrote.

    Raises
    ------
    ShardCorrupt
        If bytes of the file have changed since it was written.
    CatalogError
        If the file holds something else, or was written by a newer version.
    NotFound
        If this version has no probe of the name in the file.
    """
    body, tensors = _PROBE.read(path)
    with as_probe(path):
        return _rebuilt(body, lambda value: _RECORDS.decode(value, tensors, path))


def about(path: str | Path) -> dict[str, Any]:
    """Return the mapping ``about`` that was passed to `save`; errors as in `load`."""
    with as_probe(path):
        return dict(_PROBE.body(path)["about"])


as_probe = _PROBE.as_written
"""Context that reports unexpected content of a probe's file; see `as_written`."""


def _parts(probe: Probe, at: str, encode: Callable[[Any, str], Any]) -> dict[str, Any]:
    """Split a probe into its name, its parameters and its fitted attributes."""
    return {
        "probe": type(probe).name,
        "params": encode(probe.get_params(deep=False), f"{at}params"),
        "fitted": encode(fitted_attributes(probe), f"{at}fitted"),
    }


def _rebuilt(body: Mapping[str, Any], decode: Callable[[Any], Any]) -> Probe:
    """Rebuild a probe from its name, its parameters and its fitted attributes."""
    name = body["probe"]
    probe_class = TEXT_PROBES[name] if name in TEXT_PROBES else PROBES[name]
    params = decode(body["params"])
    with settings_of_file(f"The file of {probe_class.name!r}"):
        probe: Probe = probe_class(
            **checked(probe_class, params, f"the probe {probe_class.name!r}")
        )
    _RECORDS.give_fitted(probe, decode(body["fitted"]), f"The file of {probe_class.name!r}")
    return probe


def _inner_parts(
    probe: Probe, at: str, encode: Callable[[Any, str], Any]
) -> dict[str, Any]:
    return _parts(probe, f"{at}.", encode)


_RECORDS = Records(
    "probe",
    {
        "Bases": Bases, "Boosting": Boosting, "Centring": Centring, "Dense": Dense,
        "Expert": Expert, "LowRank": LowRank, "Routes": Routes, "Shaping": Shaping,
        "Smooth": Smooth, "Targets": Targets, "Within": Within,
    },
    (Special(Probe, "probe", _inner_parts, _rebuilt),),
)  # fmt: skip
