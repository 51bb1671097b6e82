"""Options of the verb `generate`: the one place that says their types and meanings."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from catalog import CatalogError
from catalog.console.options import check_options, option
from catalog.plugins.settings import Settings
from generators.generator import Condition, Generator

_SAMPLED = ("guidance", "temperature", "restarts", "best_of", "extrapolate")
"""Options that are passed to `sample` of generators that take them."""


@dataclass(frozen=True)
class GenerateOptions:
    """Options of `generators.generating.generate.generate` and of the command line.

    The meaning of each option is written beside it, and is its help on the command line.
    An option that is None has the default of the generator or of the catalogue.

    Raises
    ------
    CatalogError
        If a number is not finite or too small.

    Examples
    --------
    >>> GenerateOptions(n=8, temperature=0.9).sampling
    {'temperature': 0.9}
    """

    where: str = option(
        "true",
        "--where",
        "SQL condition on the table models that selects networks; default all of them.",
        metavar="SQL",
        shown=False,
    )
    steps: Literal["last", "all"] = option(
        "last",
        "--steps",
        "Use the last selected checkpoint of each run, or all selected checkpoints.",
        choices=("last", "all"),
    )
    n: int = option(100, "-n", "Number of samples.", least=1)
    conditions: Sequence[str] = option(
        (),
        "--condition",
        "Value that the samples should have in a column of models, e.g. "
        "validation_accuracy=0.9,0.95; each combination of values gets an equal share "
        "of the samples. May be repeated.",
        metavar="COLUMN=VALUE[,VALUE]",
        several=True,
    )
    extrapolate: bool = option(
        False,
        "--extrapolate",
        "Allow values of --condition outside the range of the training networks; these "
        "samples are marked.",
    )
    guidance: float | None = option(
        None,
        "--guidance",
        "Strength of the condition: 0 ignores it, 1 follows it, above 1 amplifies it; "
        "default chosen by the generator.",
        least=0,
        number=float,
    )
    temperature: float | None = option(
        None,
        "--temperature",
        "Factor of the initial noise: below 1, samples are nearer to the mean and less "
        "novel; default chosen by the generator.",
        least=0,
        number=float,
    )
    restarts: int | None = option(
        None,
        "--restarts",
        "Number of times that noise is added to each sample and the flow is integrated "
        "again; default chosen by the generator.",
        least=0,
    )
    best_of: int = option(
        1,
        "--best-of",
        "Number of candidates for each sample, of which the one with the best "
        "validation accuracy is kept; also applies to the nulls.",
        least=1,
    )
    calibrations: Sequence[str] = option(
        (),
        "--calibrate",
        "Calibration with which the networks are judged a second time; --list shows "
        "the names. May be repeated.",
        metavar="NAME",
        several=True,
    )
    settings: Settings = option(
        (),
        "--set",
        "Set a parameter of the generator, or preset=paper for the published settings. "
        "May be repeated.",
        metavar="NAME=VALUE",
        several=True,
    )
    seed: int = option(0, "--seed", "Seed of the samples and the nulls.", least=0)
    null_count: int = option(200, "--nulls", "Number of samples of each null.", least=1)
    images: int | None = option(
        None,
        "--images",
        "Maximum number of test images on which networks are judged; default all.",
        least=1,
    )
    to: str | Path | None = option(
        None,
        "--to",
        "File of the fitted generator; default in the folder generators of the catalogue.",
        metavar="FILE",
    )
    plot: str | Path | None = option(
        None,
        "--plot",
        "File of the plot (.svg, .png or .pdf); default in the folder generators of "
        "the catalogue.",
        metavar="FILE",
    )
    data: str | Path | None = option(
        None, "--data", "Folder that holds the data of the task.", metavar="DIR"
    )
    again: bool = option(
        False,
        "--again",
        "Sample and judge again even if a report exists; a stored fit is reused.",
    )
    device: str = option(
        "cpu", None, "Device on which networks are evaluated.", shown=False
    )

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def sampling(self) -> dict[str, Any]:
        """Arguments of `sample` that differ from their defaults."""
        values = {name: getattr(self, name) for name in _SAMPLED}
        return {n: value for n, value in values.items() if value != getattr(type(self), n)}

    def check_taken(self, kind: type[Generator], condition: Condition) -> None:
        """Check that a generator takes the given options and that each has an effect.

        Raises
        ------
        CatalogError
            If an option is not taken, or without effect; the message names it.
        """
        for name in self.sampling:
            if not takes(kind, name):
                raise CatalogError(
                    f"The generator {kind.name!r} takes no --{name.replace('_', '-')}. "
                    "Leave it out."
                )
            if name in ("guidance", "extrapolate") and not condition:
                raise CatalogError(
                    f"--{name} has no use without a condition. Leave it out, or give e.g. "
                    "--condition validation_accuracy=0.9"
                )


def takes(kind: type[Generator], option: str) -> bool:
    """Return whether `sample` of a generator has an option."""
    return option in inspect.signature(kind.sample).parameters
