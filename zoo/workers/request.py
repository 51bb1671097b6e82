"""Requests: records of everything that a call of `train` or `measure` is asked to do.

The command line makes an option of every field that `option` declares, and shows the
meaning that the docstring of the record states; see `zoo.request_options`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from catalog import CatalogError


def option(
    default: Any = None,
    *,
    metavar: str | None = None,
    least: int | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """Declare a field that is an option of the command line.

    Parameters
    ----------
    default : Any
        Default value; a bool makes a flag.
    metavar : str, optional
        Placeholder of the value in the help.
    least : int, optional
        Lowest value of a whole number.
    choices : sequence of str, optional
        Allowed values.
    """
    metadata = {"metavar": metavar, "least": least, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class WorkRequest:
    """Request of work that worker processes do.

    Attributes
    ----------
    data : str or Path, optional
        Folder that holds the data as files, or a text file.
    workers : int, optional
        Number of worker processes; default: one per core.
    device : str
        Device to compute on: ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    CatalogError
        If a field is out of range.
    """

    data: str | Path | None = option(metavar="DIR")  # noqa: RUF009
    workers: int | None = option(least=1)
    device: str = option("auto")

    def __post_init__(self) -> None:
        for own in fields(self):
            value, least = getattr(self, own.name), own.metadata.get("least")
            choices = own.metadata.get("choices")
            if least is not None and value is not None and value < least:
                raise CatalogError(f"--{own.name} must be at least {least}. Got {value}.")
            if choices and value not in choices:
                raise CatalogError(
                    f"--{own.name} must be {' or '.join(choices)}. Got {value!r}."
                )

    @property
    def processes(self) -> int:
        """Number of worker processes to start."""
        return self.workers or os.cpu_count() or 1

    @property
    def data_path(self) -> Path | None:
        """Folder or file with the data."""
        return None if self.data is None else Path(self.data)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, from which a worker makes the request again."""
        values = {own.name: getattr(self, own.name) for own in fields(self)}
        return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}

    def setup(self) -> dict[str, Any]:
        """Return the first message to the workers, as JSON values."""
        threads = max(1, (os.cpu_count() or 1) // self.processes)
        return {
            "request": self.to_json(), "workers": self.processes, "threads": threads
        }  # fmt: skip
