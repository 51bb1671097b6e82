"""Recipes: declarative descriptions of populations that expand into runs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from catalog import CatalogError, Layout
from zoo.architecture import Architecture
from zoo.architectures import ARCHITECTURES
from zoo.randomness import stream
from zoo.run import Run
from zoo.task import Data, Task
from zoo.tasks import TASKS


@dataclass(frozen=True)
class Draw:
    """Values from which each run draws uniformly.

    A run's draw depends on its seed, on the checkpoint that the run starts from and on the
    name of the field, so that adding or changing one draw changes no other draw.

    Attributes
    ----------
    name : str
        A field of `Run` that the recipe does not decide itself, or ``"epochs"``.
    values : tuple
        Values to draw from.
    count : int, optional
        Number of different values to draw, kept in the order of ``values``: a random
        subset, such as half of the classes. By default a single value is drawn.

    Examples
    --------
    >>> Draw("classes", tuple(range(6)), count=3).of(seed=1)
    (3, 4, 5)
    """

    name: str
    values: tuple[Any, ...]
    count: int | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"Draw {self.name!r} has no values.")
        if self.count is not None and not 1 <= self.count <= len(self.values):
            raise ValueError(
                f"The count parameter of draw {self.name!r} must be from 1 to "
                f"{len(self.values)}, the number of its values. Got {self.count!r}."
            )

    def of(self, seed: int, start: str = "") -> Any:
        """Return the draw of the run with this seed and the parent run_id ``start``."""
        order = stream(seed, f"draw {self.name} {start}").permutation(len(self.values))
        if self.count is None:
            return self.values[order[0]]
        return tuple(self.values[i] for i in sorted(order[: self.count]))


_DECIDED = {"zoo", "task", "architecture", "steps", "checkpoints", "seed", "init_from"}
_DECIDED |= {"width", "cell", "load_axis", "load", "temperature_axis", "temperature"}
_RUN_FIELDS = {f.name for f in fields(Run)} - _DECIDED


@dataclass(frozen=True)
class Axis:
    """Values that a recipe varies.

    Attributes
    ----------
    name : str
        ``"width"``, or a field of `Run` that the recipe does not decide itself.
    values : tuple
        Values in the order of the axis.
    """

    name: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        allowed = {"width"} | _RUN_FIELDS
        if self.name not in allowed:
            raise ValueError(
                f"An axis must be one of {sorted(allowed)}. Got {self.name!r}."
            )
        if not self.values:
            raise ValueError(f"Axis {self.name!r} has no values.")

    def position(self, value: Any) -> float:
        """Return a value as a number: the number itself, or its index in ``values``."""
        if isinstance(value, int | float):
            return float(value)
        return float(self.values.index(value))


@dataclass(frozen=True)
class Recipe:
    """Grid of runs over load, temperature, seeds and further axes.

    Attributes
    ----------
    name : str
        Name on the command line and in the column ``zoo``.
    summary : str
        One line for `phasezoo recipes`.
    paper : str
        Reference from which the grid comes.
    cost : str
        Measured wall time, and the machine.
    task : str
        Name of a task.
    architecture : str
        Name of a network family.
    load, temperature : Axis
        The two axes of the phase diagram.
    seeds : sequence of int
        One run per cell and seed.
    epochs : float or None
        Length of training in passes over the run's training samples; None if ``steps`` is
        given.
    steps : int or None
        Length of training in steps.
    checkpoints : tuple of float
        Times at which weights are stored, as shares of the length of training; 0 is the
        initialisation.
    settings : mapping
        Fields of `Run` that all runs share.
    options : mapping
        Options of `Architecture.scaled`.
    width : int or None
        Width of all networks, if width is no axis.
    vary : tuple of Axis
        Further axes; their values become part of the cell.
    init_from : str
        SQL condition on ``models``; every run is repeated for each checkpoint that the
        condition selects and starts from it.
    draws : tuple of Draw
        Fields that each run draws for itself; they are not part of the cell.
    """

    name: str
    summary: str
    paper: str
    cost: str
    task: str
    architecture: str
    load: Axis
    temperature: Axis
    seeds: Sequence[int]
    epochs: float | None = None
    steps: int | None = None
    checkpoints: tuple[float, ...] = (1.0,)
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    width: int | None = None
    vary: tuple[Axis, ...] = ()
    init_from: str = ""
    draws: tuple[Draw, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,79}", self.name):
            raise ValueError(
                "The name of a recipe must consist of lower-case letters, digits and "
                "underscores, start with a letter and have at most 80 characters. Got "
                f"{self.name!r}."
            )
        names = [axis.name for axis in self.axes]
        drawn = [draw.name for draw in self.draws]
        if len({*names, *drawn}) != len(names + drawn):
            raise ValueError(
                f"Recipe {self.name!r} varies the same field twice: {names + drawn}."
            )
        lengths = (self.epochs is not None, self.steps is not None, "epochs" in drawn)
        if sum(lengths) != 1:
            raise ValueError(
                f"Recipe {self.name!r} needs either epochs or steps, exactly one of them."
            )
        if not self.seeds:
            raise ValueError(f"Recipe {self.name!r} has no seeds.")
        if ("width" in names) == (self.width is not None):
            raise ValueError(
                f"Recipe {self.name!r} needs either a width or an axis called 'width'."
            )
        if unknown_draws := sorted(set(drawn) - _RUN_FIELDS - {"epochs"}):
            raise ValueError(
                f"Draws of recipe {self.name!r} must be among "
                f"{sorted(_RUN_FIELDS | {'epochs'})}. Got {unknown_draws}."
            )
        unknown = set(self.settings) - _RUN_FIELDS
        if unknown:
            raise ValueError(
                f"Settings of recipe {self.name!r} must be among {sorted(_RUN_FIELDS)}. "
                f"Got {sorted(unknown)}."
            )
        if doubled := sorted(self.settings.keys() & {*names, *drawn}):
            raise ValueError(f"Recipe {self.name!r} both sets and varies {doubled}.")

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Load, temperature and further axes."""
        return (self.load, self.temperature, *self.vary)

    @property
    def networks(self) -> int:
        """Number of runs, not multiplied by the checkpoints that `init_from` selects."""
        cells = 1
        for axis in self.axes:
            cells *= len(axis.values)
        return cells * len(self.seeds)

    @cached_property
    def data_task(self) -> Task:
        """Task of the recipe."""
        return TASKS[self.task]

    def layouts(self) -> list[Layout]:
        """Return the layout of each width, with one output per class of the runs."""
        widths = next((a.values for a in self.axes if a.name == "width"), (self.width,))
        classes = self.settings.get("classes")
        drawn_counts = {draw.count for draw in self.draws if draw.name == "classes"}
        outputs = next(iter(drawn_counts), len(classes) if classes else None)
        field_names = {*self.settings, *(a.name for a in self.axes)}
        field_names |= {draw.name for draw in self.draws}
        outputs = 2 if "one_vs_rest" in field_names else outputs
        return [self.network(width, outputs).layout for width in widths]

    @property
    def bytes(self) -> int:
        """Size of all stored weights in bytes."""
        layouts = self.layouts()
        per_width = self.networks // len(layouts) * len(self.checkpoints)
        return per_width * sum(layout.nbytes for layout in layouts)

    def network(self, width: int, classes: int | None = None) -> Architecture:
        """Return the architecture of one width; ``classes`` defaults to the task's."""
        family = ARCHITECTURES[self.architecture]
        task = self.data_task
        count = task.classes if classes is None else classes
        return family.scaled(width, task.shape, count, **self.options)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values from which `zoo.recipes.recipe_from` rebuilds the recipe."""
        value = asdict(self)
        value["seeds"] = list(self.seeds)
        return value

    def runs(self, data: Data, parents: Sequence[tuple[str, int]] = ()) -> list[Run]:
        """Return all runs, ordered by seed, then by cell, then by parent.

        Parameters
        ----------
        data : Data
            Data of the task; the number of training samples decides the number of steps.
        parents : sequence of (run_id, step)
            Checkpoints that `init_from` selects.

        Raises
        ------
        CatalogError
            If a batch is larger than a run's training data, or `init_from` selects
            no checkpoint.
        """
        if self.init_from and not parents:
            raise CatalogError(
                f"Recipe {self.name!r} starts from checkpoints that match "
                f"{self.init_from!r}, but the catalogue has none. Train them first."
            )
        starts: Sequence[tuple[str, int] | None] = parents or (None,)
        values = [axis.values for axis in self.axes]
        return [
            self._run(data, seed, dict(zip(self.axes, point, strict=True)), start)
            for seed in self.seeds
            for point in itertools.product(*values)
            for start in starts
        ]

    def _run(
        self,
        data: Data,
        seed: int,
        point: dict[Axis, Any],
        start: tuple[str, int] | None,
    ) -> Run:
        run_fields = {axis.name: value for axis, value in point.items()}
        run_fields = {**self.settings, "seed": seed, "width": self.width, **run_fields}
        run_fields |= {
            draw.name: draw.of(seed, start[0] if start else "") for draw in self.draws
        }
        epochs = run_fields.pop("epochs", self.epochs)
        classes = run_fields.get("classes")
        outputs = len(classes) if classes else None
        outputs = outputs if run_fields.get("one_vs_rest") is None else 2
        network = self.network(run_fields["width"], outputs)
        cell = " ".join(f"{axis.name}={value}" for axis, value in point.items())
        run = Run(
            zoo=self.name,
            task=self.task,
            architecture=network.config(),
            steps=0,
            checkpoints=(0,),
            init_from=start,
            load_axis=self.load.name,
            load=self.load.position(point[self.load]),
            temperature_axis=self.temperature.name,
            temperature=self.temperature.position(point[self.temperature]),
            cell=cell,
            **run_fields,
        )
        per_epoch = self._steps_per_epoch(run, data)
        steps = self.steps if epochs is None else round(epochs * per_epoch)
        assert steps is not None
        checkpoint_steps = sorted({round(share * steps) for share in self.checkpoints})
        return replace(run, steps=steps, checkpoints=tuple(checkpoint_steps))

    def _steps_per_epoch(self, run: Run, data: Data) -> int:
        available = data.samples("train")
        if run.classes is not None:
            available = int(sum((data.y["train"] == c).sum() for c in run.classes))
        if run.one_vs_rest is not None:
            available = 2 * int((data.y["train"] == run.one_vs_rest).sum())
        samples = available if run.train_samples is None else run.train_samples
        if samples > available or run.batch_size > samples:
            raise CatalogError(
                f"Recipe {self.name!r}, cell {run.cell!r}: a batch of "
                f"{run.batch_size} from {samples} of {available} training samples of "
                f"{data.task.title} is not possible. Lower batch_size or train_samples."
            )
        return samples // run.batch_size


_GOLDEN = (5**0.5 - 1) / 2


def spread_runs(runs: Sequence[Run], limit: int | None) -> list[Run]:
    """Return ``limit`` runs, spread over the cells of the first seeds.

    Within a seed, cells are taken in the order of the fractional parts of multiples of
    the golden ratio: no row or column of the grid is favoured, and a larger limit
    includes all runs of a smaller limit.

    Raises
    ------
    CatalogError
        If ``limit`` is less than 1.
    """
    if limit is None or limit >= len(runs):
        return list(runs)
    if limit < 1:
        raise CatalogError(f"--limit must be at least 1. Got {limit}.")
    seeds: dict[int, list[Run]] = {}
    for run in runs:
        seeds.setdefault(run.seed, []).append(run)
    selected: list[Run] = []
    for group in seeds.values():
        order = sorted(range(len(group)), key=lambda k: k * _GOLDEN % 1)
        selected += [group[k] for k in order[: limit - len(selected)]]
    return selected
