"""Options of the verb `generate`: the one place that says their types and meanings."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from catalog import CatalogError
from catalog.plugins.settings import Settings
from generators.generator import Condition, Generator

_SAMPLED = ("guidance", "temperature", "restarts", "best_of", "extrapolate")
"""Options that are passed to `sample` of generators that take them."""


def _given(
    flag: str | None, meaning: str, *, metavar: str | None = None, least: int | None = None
) -> dict[str, Any]:
    """Return the metadata of a field; ``flag`` is its option, None if only in Python."""
    return {"flag": flag, "help": meaning, "metavar": metavar, "least": least}


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

    where: str = field(
        default="true",
        metadata=_given(
            "--where",
            "SQL condition on the table models that selects networks; default all of them.",
            metavar="SQL",
        ),
    )
    steps: Literal["last", "all"] = field(
        default="last",
        metadata=_given(
            "--steps",
            "Use the last selected checkpoint of each run, or all selected checkpoints.",
        ),
    )
    n: int = field(default=100, metadata=_given("-n", "Number of samples.", least=1))
    conditions: Sequence[str] = field(
        default=(),
        metadata=_given(
            "--condition",
            "Value that the samples should have in a column of models, e.g. "
            "validation_accuracy=0.9,0.95; each combination of values gets an equal share "
            "of the samples. May be repeated.",
            metavar="COLUMN=VALUE[,VALUE]",
        ),
    )
    extrapolate: bool = field(
        default=False,
        metadata=_given(
            "--extrapolate",
            "Allow values of --condition outside the range of the training networks; these "
            "samples are marked.",
        ),
    )
    guidance: float | None = field(
        default=None,
        metadata=_given(
            "--guidance",
            "Strength of the condition: 0 ignores it, 1 follows it, above 1 amplifies it; "
            "default chosen by the generator.",
            least=0,
        ),
    )
    temperature: float | None = field(
        default=None,
        metadata=_given(
            "--temperature",
            "Factor of the initial noise: below 1, samples are nearer to the mean and less "
            "novel; default chosen by the generator.",
            least=0,
        ),
    )
    restarts: int | None = field(
        default=None,
        metadata=_given(
            "--restarts",
            "Number of times that noise is added to each sample and the flow is integrated "
            "again; default chosen by the generator.",
            least=0,
        ),
    )
    best_of: int = field(
        default=1,
        metadata=_given(
            "--best-of",
            "Number of candidates for each sample, of which the one with the best "
            "validation accuracy is kept; also applies to the nulls.",
            least=1,
        ),
    )
    calibrations: Sequence[str] = field(
        default=(),
        metadata=_given(
            "--calibrate",
            "Calibration with which the networks are judged a second time; --list shows "
            "the names. May be repeated.",
            metavar="NAME",
        ),
    )
    settings: Settings = field(
        default=(),
        metadata=_given(
            "--set",
            "Set a parameter of the generator, or preset=paper for the published settings. "
            "May be repeated.",
            metavar="NAME=VALUE",
        ),
    )
    seed: int = field(
        default=0, metadata=_given("--seed", "Seed of the samples and the nulls.", least=0)
    )
    null_count: int = field(
        default=200, metadata=_given("--nulls", "Number of samples of each null.", least=1)
    )
    images: int | None = field(
        default=None,
        metadata=_given(
            "--images",
            "Maximum number of test images on which networks are judged; default all.",
            least=1,
        ),
    )
    to: str | Path | None = field(
        default=None,
        metadata=_given(
            "--to",
            "File of the fitted generator; default in the folder generators of the "
            "catalogue.",
            metavar="FILE",
        ),
    )
    plot: str | Path | None = field(
        default=None,
        metadata=_given(
            "--plot",
            "File of the plot (.svg, .png or .pdf); default in the folder generators of "
            "the catalogue.",
            metavar="FILE",
        ),
    )
    data: str | Path | None = field(
        default=None,
        metadata=_given("--data", "Folder that holds the data of the task.", metavar="DIR"),
    )
    again: bool = field(
        default=False,
        metadata=_given(
            "--again",
            "Sample and judge again even if a report exists; a stored fit is reused.",
        ),
    )
    device: str = field(
        default="cpu", metadata=_given(None, "Device on which networks are evaluated.")
    )

    def __post_init__(self) -> None:
        for option in fields(self):
            value, least = getattr(self, option.name), option.metadata["least"]
            if least is None or (value is None and option.default is None):
                continue
            if not (math.isfinite(value) and value >= least):
                raise CatalogError(
                    f"{option.metadata['flag']} must be {least} or more. Got {value}."
                )

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
