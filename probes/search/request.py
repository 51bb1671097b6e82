"""Options of `phasezoo search`, the one record for command line and Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from catalog.errors import CatalogError
from probes.options import Option, check_options


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """Request to rank networks by text, by a probe of a target or by a saved probe.

    Raises
    ------
    CatalogError
        If there is not exactly one of target and probe, or ``top`` is below 1.
    """

    target: Annotated[
        str | None,
        Option(
            "--target",
            "Column of class names to fit a probe to; the probe is saved and reused.",
            metavar="COLUMN",
        ),
    ] = None
    probe: Annotated[
        str | None,
        Option("--probe", "Saved text probe to use instead of --target.", metavar="FILE"),
    ] = None
    encoder: Annotated[
        str, Option("--encoder", "Text encoder of the probe for --target.")
    ] = "minilm"
    again: Annotated[
        bool,
        Option("--again", "Fit again even if the probe is saved."),
    ] = False
    where: Annotated[
        str | None,
        Option(
            "--where",
            "SQL condition that selects models to rank, and with --target to train on.",
            metavar="SQL",
        ),
    ] = None
    new: Annotated[
        bool,
        Option("--new", "Rank only networks outside the training set of the probe."),
    ] = False
    top: Annotated[int, Option("--top", "Number of rows to print.", least=1)] = 10

    def __post_init__(self) -> None:
        """Check the options."""
        check_options(self)
        if (self.target is None) == (self.probe is None):
            raise CatalogError(
                "Pass either --target COLUMN, such as class_name, or --probe FILE."
            )
