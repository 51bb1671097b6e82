"""Interface of format readers, and the networks that they return.

A format is one module in ``catalog/formats/`` (or ``zoo/formats/`` if it needs torch) and
one line in the entry-point group ``phasezoo.formats``. It turns a file or folder into
`Network` records. Grouping, typing, identity and committing are shared by all formats and
live in `catalog.importing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from catalog.dtypes import DTYPES, Array
from catalog.errors import CatalogError

Scalar = str | int | float | bool | None
"""Values that a metadata column may hold."""


@dataclass(frozen=True)
class Tensor:
    """One foreign tensor, bit for bit as published.

    Attributes
    ----------
    values : ndarray of shape (*shape)
        Values in the storage dtype of ``dtype`` (bfloat16: uint16) and native byte order.
    dtype : str
        Name of the dtype in `catalog.dtypes`.
    role : str, optional
        Role as in `Param`. Default by dtype and name: ``running_mean`` and ``running_var``
        are buffers, other floats parameters, integers and booleans counters, complex
        numbers constants.
    axes : tuple of (str or None), optional
        Axis symbols as in `Param`, if the format knows them for sure. If one tensor of a
        network has axes, no axes are inferred for its other tensors.
    """

    values: Array
    dtype: str
    role: str | None = None
    axes: tuple[str | None, ...] | None = None

    @classmethod
    def from_array(cls, values: Array, where: str, role: str | None = None) -> Tensor:
        """Make a tensor from a numpy array, in native byte order.

        Parameters
        ----------
        values : ndarray
            The array.
        where : str
            File and key, which the error names.
        role : str, optional
            Role of the tensor.

        Raises
        ------
        CatalogError
            If the array does not hold numbers of a known dtype.
        """
        name = values.dtype.name
        if name not in DTYPES:
            raise CatalogError(
                f"{where} is an array of {values.dtype}, which no tensor can have; "
                f"expected one of {', '.join(DTYPES)}."
            )
        native = values.astype(DTYPES[name].storage, order="C", copy=False)
        return cls(native, name, role)


@dataclass(frozen=True)
class Network:
    """One checkpoint of a foreign run.

    Attributes
    ----------
    name : str
        Place in the source (a relative path or a key), which errors name.
    tensors : mapping of str to Tensor, optional
        Tensors in state-dict order; None if only metrics were published.
    run, checkpoint : mapping of str to scalar
        Columns of `runs` and of `checkpoints`; documented columns in their units.
    run_name : str, default=name
        Name of the run, which all its checkpoints share.
    step : int, default=0
        Number of optimiser steps, or another count of the source, whose unit a column
        then names.
    architecture : mapping, optional
        Specification for `zoo.modules.build`, if an architecture of phasezoo is the same
        network.
    parents : tuple of (str, int, str)
        ``(run_name, step, role)`` of the parents, which are networks of the same source.
    known_parents : tuple of (str, int, str)
        ``(run_id, step, role)`` of the parents that are in the catalogue already.
    split_keys : tuple of str
        Names of the ancestors that decide the fixed splits of the run, so that related
        networks of several sources share them. Default: the run and its parents decide.
    """

    name: str
    tensors: Mapping[str, Tensor] | None
    run: Mapping[str, Scalar] = field(default_factory=dict)
    checkpoint: Mapping[str, Scalar] = field(default_factory=dict)
    run_name: str = ""
    step: int = 0
    architecture: Mapping[str, Any] | None = None
    parents: tuple[tuple[str, int, str], ...] = ()
    known_parents: tuple[tuple[str, int, str], ...] = ()
    split_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.run_name:
            object.__setattr__(self, "run_name", self.name)


class Format(Protocol):
    """Reader of one kind of publication.

    Attributes
    ----------
    name : str
        Name for ``--format``.
    summary : str
        One line that describes the files of the format.

    A format whose publications span a grid may also have ``grid``, the columns of load and
    temperature: runs that have both columns as numbers get their cell.

    A format with ``takes_table = True`` reads a csv beside the networks; the command then
    lists the tables in the source that were not read.
    """

    name: str
    summary: str

    def recognises(self, source: Path) -> bool:
        """Return True if a file or folder has this format; read as little as possible."""
        ...

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        """Yield the networks in a fixed order.

        Parameters
        ----------
        source : Path
            File or folder.
        metadata : Path, optional
            A csv with one row per network, for formats with a table beside the networks.

        Raises
        ------
        CatalogError
            If a file does not have the format; the error names the file.
        """
        ...
