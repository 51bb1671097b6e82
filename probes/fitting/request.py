"""Options of `phasezoo probe`, the one record for command line, Python and provenance."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from catalog.console.options import check_options, option, options_in
from catalog.errors import CatalogError
from catalog.plugins.settings import Settings, parse
from probes.fitting.settings import probe_named
from probes.judging.folds import BY
from probes.probe import Probe
from probes.statistics.shaping import SHAPES
from probes.targets import TASKS

AUTO = "auto"
"""Value of --layer that chooses a layer on training networks, and of --task that chooses
the task by the values of the target."""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Checkpoints of a catalogue to read."""

    where: str = option(
        "true",
        "--where",
        "SQL condition that selects models; default: all.",
        metavar="SQL",
        shown=False,
    )
    steps: str = option(
        "last",
        "--steps",
        "Checkpoints to use of each run: the last selected one, or all.",
        choices=("last", "all"),
    )

    def __post_init__(self) -> None:
        """Check the options."""
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class FitRequest(Checkpoints):
    """Request to fit a probe, with all that needs no catalogue checked.

    Attributes
    ----------
    probe : str
        Name of a probe, see `probes.estimators.PROBES`.

    Raises
    ------
    CatalogError
        If a value is not allowed, or options exclude one another.
    NotFound
        If there is no such probe, or no such parameter.
    """

    probe: str
    targets: tuple[str, ...] = option(
        MISSING,
        "--target",
        "Column of models to predict, a pattern (saw_*), or NAME=SQL; repeatable.",
        metavar="COLUMN",
        several=True,
    )
    task: str = option(
        AUTO,
        "--task",
        "Kind of target; auto decides by the values of the target.",
        choices=(AUTO, *TASKS),
    )
    by: str = option(
        "run",
        "--by",
        "Groups that are never split between training and test set; each zoo or tree "
        "is held out in turn.",
        choices=tuple(BY),
    )
    deal: int | None = option(
        None,
        "--folds",
        "Number of folds of runs or cells, each tested once. Default: the fixed split.",
        least=2,
    )
    layer: tuple[str, ...] = option(
        (),
        "--layer",
        "Tensor to read, repeatable; auto chooses one on training networks. Default: "
        "all matrices.",
        metavar="TENSOR",
        several=True,
    )
    seeds: int = option(
        1, "--seeds", "Number of fits with different random seeds.", least=1
    )
    relative: str | None = option(
        None,
        "--relative",
        "Compare statistics with the training networks of the same zoo; within a "
        "held-out zoo with one another, without targets.",
        choices=SHAPES,
    )
    settings: Settings = option(
        (),
        "--set",
        "Parameter of the probe, repeatable.",
        metavar="NAME=VALUE",
        several=True,
    )
    to: str | Path | None = option(
        None,
        "--to",
        "File to write the probe to; default: inside the catalogue.",
        metavar="FILE",
    )
    again: bool = option(False, "--again", "Fit again even if the same fit is stored.")

    def __post_init__(self) -> None:
        """Check the options, and convert them to tuples and a dict."""
        for name in ("targets", "layer"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "settings", parse(self.settings))
        reads_statistics = by_statistics(self.unfitted())
        super().__post_init__()
        if self.relative is not None and not reads_statistics:
            raise CatalogError(
                f"--relative compares statistics, and {self.probe!r} reads weights. Use "
                "the probe 'statistics'."
            )
        if self.chooses_layer and reads_statistics:
            raise CatalogError(
                "--layer auto is for probes that read weights; 'statistics' reads all "
                "tensors at once, or those that --layer names."
            )

    @property
    def chooses_layer(self) -> bool:
        """True if the layer is chosen on training networks."""
        return self.layer == (AUTO,)

    def unfitted(self) -> Probe:
        """Return the probe with its settings, unfitted."""
        return probe_named(self.probe, self.settings)

    def recorded(self) -> dict[str, Any]:
        """Return the options that the provenance of a fit records as they are."""
        return {key: getattr(self, name) for key, name in _RECORDED.items()}


_RECORDED = {
    "where": "where", "steps": "steps", "by": "by", "folds": "deal", "seeds": "seeds",
    "relative": "relative",
}  # fmt: skip
"""Keys of the provenance of a fit, with the names of the fields that they record."""


def by_statistics(probe: Probe) -> bool:
    """Return True if a probe reads statistics, and so networks of any layouts."""
    return "described" in probe.get_params(deep=False)


def recorded_flags() -> dict[str, str]:
    """Return the flags of the options that the provenance of a fit records, by its keys."""
    options = options_in(FitRequest)
    flags = {
        key: options[name].flag for key, name in {"targets": "targets", **_RECORDED}.items()
    }
    return {key: flag for key, flag in flags.items() if flag is not None}
