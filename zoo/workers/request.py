"""Requests: records of everything that a call of `train` or `measure` is asked to do.

The command line makes an option of every field that `option` declares, see
`catalog.console.options`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from catalog.console.local_only import check_local
from catalog.console.options import check_options, option


@dataclass(frozen=True, kw_only=True)
class WorkRequest:
    """Request of work that worker processes do.

    Raises
    ------
    CatalogError
        If a field is out of range, or the catalogue is remote.
    """

    data: str | Path | None = option(
        None,
        "--data",
        "Folder with the files of the data set. Default: download it, unless it is "
        "built in.",
        metavar="DIR",
    )
    workers: int | None = option(
        None, "--workers", "Number of worker processes. Default: one per core.", least=1
    )
    device: str = option(
        "auto", "--device", "Device: auto (CUDA if there is a GPU), cpu or cuda."
    )

    def __post_init__(self) -> None:
        check_local(getattr(self, "catalog", None))
        check_options(self)

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
