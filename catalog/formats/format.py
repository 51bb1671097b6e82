"""Networks that somebody else published: what a format reader gives.

A format is one file in ``catalog/formats/`` (or ``zoo/formats/`` if it needs torch) and
one line in the entry-point group ``phasezoo.formats``. It turns a file or folder into
`Network` records; grouping, typing, identity and committing are shared and stand in
`catalog.importing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from catalog.dtypes import DTYPES, Array
from catalog.errors import CatalogError

Scalar = str | int | float | bool | None
"""What a metadata column may hold."""


@dataclass(frozen=True)
class Tensor:
    """One foreign tensor, bit for bit.

    Attributes
    ----------
    values : ndarray of shape (*shape)
        In the storage dtype of ``dtype`` (bfloat16: uint16), native byte order.
    dtype : str
        A name of `catalog.dtypes`.
    role : str, optional
        As in `Param`; default by dtype and name: ``running_mean`` and ``running_var``
        are buffers, other floats parameters, integers and booleans counters, complex
        numbers constants.
    axes : tuple of (str or None), optional
        As in `Param`, if the format knows them for sure. If one tensor of a network
        has them, nothing is inferred for the others.
    """

    values: Array
    dtype: str
    role: str | None = None
    axes: tuple[str | None, ...] | None = None

    @classmethod
    def from_array(cls, values: Array, where: str, role: str | None = None) -> Tensor:
        """A tensor of a numpy array, in native byte order.

        Parameters
        ----------
        where : str
            File and key: what the error names.

        Raises
        ------
        CatalogError
            If the array holds something other than numbers.
        """
        name = values.dtype.name
        if name not in DTYPES:
            raise CatalogError(
                f"{where} is an array of {values.dtype}, which is no tensor; expected "
                f"one of {', '.join(DTYPES)}."
            )
        native = values.astype(DTYPES[name].storage, order="C", copy=False)
        return cls(native, name, role)


@dataclass(frozen=True)
class Network:
    """One checkpoint of a foreign run.

    Attributes
    ----------
    name : str
        Where it stands in the source (a relative path, a key): errors name it.
    tensors : mapping of str to Tensor, optional
        In state-dict order; None where only metrics were published.
    run, checkpoint : mapping of str to scalar
        Columns of `runs` and of `checkpoints`; documented names in their units.
    run_name : str, default=name
        The same for all checkpoints of one run.
    step : int, default=0
        Optimiser steps, or what the source counts (then say so in a column).
    architecture : mapping, optional
        What `zoo.modules.build` needs, if one of our architectures is the same network.
    parents : tuple of (str, int, str)
        ``(run_name, step, role)`` of networks of the same source.
    """

    name: str
    tensors: Mapping[str, Tensor] | None
    run: Mapping[str, Scalar] = field(default_factory=dict)
    checkpoint: Mapping[str, Scalar] = field(default_factory=dict)
    run_name: str = ""
    step: int = 0
    architecture: Mapping[str, Any] | None = None
    parents: tuple[tuple[str, int, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.run_name:
            object.__setattr__(self, "run_name", self.name)


class Format(Protocol):
    """How one kind of publication is read.

    Attributes
    ----------
    name : str
        For ``--format``.
    summary : str
        One line: what it looks like on disk.

    A format whose publisher spans a grid may also have ``grid``, the columns of its load
    and temperature: runs that have both as numbers get their cell.

    A format with ``takes_table = True`` reads a csv beside the networks; the command then
    names the tables in the source that were not read.
    """

    name: str
    summary: str

    def recognises(self, source: Path) -> bool:
        """Whether a file or folder looks like this format; opens as little as it can."""
        ...

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        """Yield the networks in a fixed order.

        Parameters
        ----------
        source : Path
            File or folder.
        metadata : Path, optional
            A csv with one row per network, where the format has one beside it.

        Raises
        ------
        CatalogError
            If a file is not what the format promises; the error names the file.
        """
        ...
