"""Configuration of one training run: everything that decides its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from catalog.names import content_id
from zoo.options.augment import check_augmentation
from zoo.options.optimizer import check_optimizer
from zoo.options.schedule import schedule
from zoo.options.transform import check_transform

SEMANTICS = 1
"""Version of the semantics of training; raise it with every change that changes weights."""


_REALS = ("lr", "momentum", "weight_decay", "label_noise", "init_scale")

_LATER = {"augment": "none", "beta": None, "one_vs_rest": None}
"""Fields that were added after 0.1.0, with their defaults. A field at its default is left
out of the run_id, so that older runs keep their run_id."""


@dataclass(frozen=True)
class Run:
    """Configuration of a run.

    Attributes
    ----------
    zoo : str
        Name of the recipe that the run belongs to.
    task : str
        Name of the task.
    architecture : mapping
        Value of `Architecture.config`.
    optimizer, schedule : str
        Names in `zoo.options.optimizer` and `zoo.options.schedule`.
    batch_size, steps : int
        Samples per step, and number of steps.
    checkpoints : tuple of int
        Steps after which weights are stored; 0 is the initialisation.
    lr : float
        Peak learning rate.
    momentum : float
        Momentum of SGD, or beta_1 of Adam and AdamW.
    weight_decay, label_noise, init_scale : float
        Weight decay of the optimiser; share of training labels that are replaced by
        another class; factor of the initial weights.
    seed : int
        Seed of every draw that has no seed of its own.
    init_seed, order_seed, subset_seed, noise_seed : int or None
        Seeds of initialisation, data order, data subset and label noise. Without an
        ``init_seed``, the initialisation also depends on the cell, so that no two cells
        share one, which would leak between splits; give a seed to share it.
    train_samples : int or None
        Size of a random subset of the training data; None takes all.
    classes : tuple of int or None
        Subset of the task's classes that the run sees, in order: label k is
        ``classes[k]``. None takes all.
    label_map : tuple of int or None
        New label of each label, applied after ``classes``.
    transform : str
        Transform of every image, see `zoo.options.transform`.
    init_from : (str, int) or None
        run_id and step of the checkpoint to start from.
    train_evaluated : int
        Maximum number of training samples on which train loss and accuracy are evaluated.
    width : int or None
        Width of the network.
    load_axis, temperature_axis : str
        Names of the recipe's load and temperature axes.
    load, temperature : float or None
        Position of the run on the two axes.
    cell : str
        Name of the run's cell of the grid.
    augment : str
        Random augmentation of the training images at every step, see
        `zoo.options.augment`.
    beta : float or None
        Coefficient of the convection equation; None for other tasks.
    one_vs_rest : int or None
        Class that the run distinguishes from all others. Images of the class have label 1;
        an equal number of other images, the same for every run of the class, have label 0.
    """

    zoo: str
    task: str
    architecture: Mapping[str, Any]
    steps: int
    checkpoints: tuple[int, ...]
    optimizer: str = "sgd"
    schedule: str = "constant"
    batch_size: int = 64
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    label_noise: float = 0.0
    init_scale: float = 1.0
    seed: int = 0
    init_seed: int | None = None
    order_seed: int | None = None
    subset_seed: int | None = None
    noise_seed: int | None = None
    train_samples: int | None = None
    classes: tuple[int, ...] | None = None
    label_map: tuple[int, ...] | None = None
    transform: str = "identity"
    init_from: tuple[str, int] | None = None
    train_evaluated: int = 10_000
    width: int | None = None
    load_axis: str = ""
    load: float | None = None
    temperature_axis: str = ""
    temperature: float | None = None
    cell: str = ""
    augment: str = "none"
    beta: float | None = None
    one_vs_rest: int | None = None

    def __post_init__(self) -> None:
        for name in _REALS:  # 1 and 1.0 are one configuration
            object.__setattr__(self, name, float(getattr(self, name)))
        check_optimizer(self.optimizer)
        schedule(self.schedule)
        check_transform(self.transform)
        check_augmentation(self.augment)
        if self.beta is not None:
            object.__setattr__(self, "beta", float(self.beta))
        for name, low, high in (
            ("batch_size", 1, None),
            ("steps", 0, None),
            ("lr", 0, None),
            ("momentum", 0, 1),
            ("weight_decay", 0, None),
            ("label_noise", 0, 1),
            ("init_scale", 0, None),
            ("train_evaluated", 1, None),
        ):
            value = getattr(self, name)
            if not value >= low or (high is not None and value > high):
                bound = f"at least {low}" if high is None else f"from {low} to {high}"
                raise ValueError(
                    f"The {name} parameter of Run must be {bound}. Got {value!r}."
                )
        steps = self.checkpoints
        if (
            not steps
            or list(steps) != sorted(set(steps))
            or not (steps[0] >= 0 and steps[-1] <= self.steps)
        ):
            raise ValueError(
                "The checkpoints parameter of Run must be increasing steps from 0 to "
                f"{self.steps}. Got {steps!r}."
            )
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes lists a class twice: {self.classes}.")
        if self.one_vs_rest is not None and (self.classes or self.label_map):
            raise ValueError(
                f"one_vs_rest = {self.one_vs_rest} sets the labels 0 and 1 itself; leave "
                "out classes and label_map."
            )

    def seed_for(self, purpose: str) -> int:
        """Return the seed for ``"init"``, ``"order"``, ``"subset"`` or ``"noise"``."""
        seed = getattr(self, f"{purpose}_seed")
        return self.seed if seed is None else int(seed)

    def config(self) -> dict[str, Any]:
        """Return all fields as JSON values, without later fields at their default."""
        # `asdict` would copy the values deeply and take ten times as long.
        value = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, default in _LATER.items():
            if value[name] == default:
                del value[name]
        value["architecture"] = dict(self.architecture)
        return value

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Run:
        """Make a run from the value of `config`, also after a round trip through JSON."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in config.items()
        }
        return cls(**values)

    def run_id(self, fingerprint: str) -> str:
        """Return the identifier, a hash of the configuration and the data.

        The zoo and the position in its grid are part of the hash: a run belongs to one zoo.

        Parameters
        ----------
        fingerprint : str
            Fingerprint of the data and their split.
        """
        return content_id(
            {"semantics": SEMANTICS, "data": fingerprint, "config": self.config()}
        )
