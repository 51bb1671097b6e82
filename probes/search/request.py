"""Options of `phasezoo search`, the one record for command line and Python."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.console.options import check_options, option
from catalog.errors import CatalogError


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """Request to rank networks by text, by a probe of a target or by a saved probe.

    Raises
    ------
    CatalogError
        If there is not exactly one of target and probe, or ``top`` is below 1.
    """

    target: str | None = option(
        None,
        "--target",
        "Column of class names to fit a probe to; the probe is saved and reused.",
        metavar="COLUMN",
    )
    probe: str | None = option(
        None, "--probe", "Saved text probe to use instead of --target.", metavar="FILE"
    )
    encoder: str = option("minilm", "--encoder", "Text encoder of the probe for --target.")
    again: bool = option(False, "--again", "Fit again even if the probe is saved.")
    where: str | None = option(
        None,
        "--where",
        "SQL condition that selects models to rank, and with --target to train on.",
        metavar="SQL",
    )
    new: bool = option(
        False, "--new", "Rank only networks outside the training set of the probe."
    )
    top: int = option(10, "--top", "Number of rows to print.", least=1)

    def __post_init__(self) -> None:
        """Check the options."""
        check_options(self)
        if (self.target is None) == (self.probe is None):
            raise CatalogError(
                "Pass either --target COLUMN, such as class_name, or --probe FILE."
            )
