"""Probes by name, with settings as their parameters."""

from __future__ import annotations

from catalog import CatalogError
from catalog.plugins.parameters import parameters
from catalog.plugins.settings import Settings, checked, parse
from probes.estimators import PROBES
from probes.probe import Probe

_GIVEN = ("task", "layout", "layer", "described", "relative", "random_state")
"""Parameters that the command fills in itself."""


def probe_named(name: str, settings: Settings = ()) -> Probe:
    """Return an unfitted probe.

    Parameters
    ----------
    settings : mapping or iterable of str
        Values by name, or texts such as ``"model=ridge"``; see `catalog.plugins.settings`.

    Raises
    ------
    NotFound
        If there is no such probe or parameter, with the closest names.
    CatalogError
        If a value has another type, or the probe refuses it.
    """
    probe: Probe = PROBES[name]()
    known = parameters(type(probe), without=_GIVEN)
    probe.set_params(**checked(known, parse(settings), f"the probe {name!r}"))
    try:
        probe.check()
    except ValueError as error:
        raise CatalogError(f"The probe {name!r} refuses: {error}") from error
    return probe
