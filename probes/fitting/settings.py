"""Construction of probes by name, with settings as parameters."""

from __future__ import annotations

from catalog import CatalogError
from catalog.plugins.parameters import parameters
from catalog.plugins.settings import Settings, checked, parse
from probes.estimators import PROBES
from probes.probe import Probe

_SET_BY_COMMAND = ("task", "layout", "layer", "described", "relative", "random_state")
"""Parameters that the command sets itself."""


def probe_named(name: str, settings: Settings = ()) -> Probe:
    """Return an unfitted probe.

    Parameters
    ----------
    settings : mapping or iterable of str
        Values by name, or strings such as ``"model=ridge"``; see
        `catalog.plugins.settings`.

    Raises
    ------
    NotFound
        If there is no such probe or parameter; the message lists the closest names.
    CatalogError
        If a value has the wrong type, or the probe does not accept it.
    """
    probe: Probe = PROBES[name]()
    known = parameters(type(probe), without=_SET_BY_COMMAND)
    probe.set_params(**checked(known, parse(settings), f"the probe {name!r}"))
    try:
        probe.check()
    except ValueError as error:
        raise CatalogError(f"Invalid settings of the probe {name!r}: {error}") from error
    return probe
