"""All nulls at several strengths, aligned and not: the points of the null frontier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from catalog import Canonicaliser, Population
from generators.codes.canonical import last_rows
from generators.file import settings
from generators.nulls.diagonal_gaussian import DiagonalGaussian
from generators.nulls.disguised import Disguised
from generators.nulls.interpolation import Interpolation
from generators.nulls.null import Null
from generators.nulls.pca_gaussian import PCAGaussian
from generators.nulls.soup import Soup
from generators.nulls.train import Train
from generators.nulls.train_noise import TrainNoise

NOISES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
SHARES = (0.1, 0.25, 0.5)
SIZES = (4, 8, 16, 64)
SIGMAS = (0.25, 0.5, 0.7, 0.85, 1.0, 1.2)
RANKS = (32, 128, 512)
AGAIN = (
    TrainNoise(sigma=0.1),
    TrainNoise(sigma=0.2),
    TrainNoise(sigma=0.3),
    Interpolation(share=0.25),
    Interpolation(share=0.5),
    Soup(size=4),
    PCAGaussian(sigma=1.0),
)
"""Aligned nulls that are judged a second time, disguised."""


@dataclass(frozen=True)
class FittedNull:
    """Fitted null with the label under which it is reported.

    Attributes
    ----------
    label : str
        Name of the null with its settings.
    null : Null
        The null.
    """

    label: str
    null: Null


def fitted_nulls(
    population: Population, training: Population, canonicaliser: Canonicaliser | None
) -> Iterator[FittedNull]:
    """Yield fitted nulls of the original networks first, then of the aligned networks.

    Nulls are made of the last checkpoints of runs: earlier ones would be worse nulls. If
    units can be reordered, some of the aligned nulls are repeated, disguised. Strengths for
    which the population is too small are omitted.

    Parameters
    ----------
    population : Population
        Original training networks.
    training : Population
        The same networks in canonical units, such as ``training_`` of a generator.
    canonicaliser : Canonicaliser, optional
        Canonicaliser that aligned the training networks; None if they are not aligned.
    """
    population, training = (
        networks.select(last_rows(networks)[0]) for networks in (population, training)
    )
    sides: list[tuple[bool, Population, Canonicaliser | None]] = [(False, population, None)]
    if canonicaliser is not None:
        sides.append((True, training, canonicaliser))
    for aligned, networks, applied in sides:
        suffix = ", aligned" if aligned else ""
        disguise = Disguised(aligned).fit_to(networks, applied)
        if not aligned:
            yield FittedNull("train", Train(aligned).fit_to(networks, applied))
        if aligned or canonicaliser is None:
            yield FittedNull("train, disguised", disguise)
        for entry in _null_strengths(aligned, networks, applied):
            yield FittedNull(f"{entry.label}{suffix}", entry.null)
            if aligned and settings(entry.null) in [settings(null) for null in AGAIN]:
                disguised = disguise.of(entry.null)
                yield FittedNull(f"{entry.label}, disguised", disguised)


def _null_strengths(
    aligned: bool, networks: Population, canonicaliser: Canonicaliser | None
) -> Iterator[FittedNull]:
    """Fit one null of each kind, and yield it at several strengths."""
    runs = len(set(networks["run_id"]))
    rank = min(len(networks) - 1, networks.layout.d)
    noisy = TrainNoise(aligned).fit_to(networks, canonicaliser)
    for sigma in NOISES:
        yield FittedNull(f"train + {sigma:g} sd", _with_strength(noisy, sigma=sigma))
    if runs > 1:
        between = Interpolation(aligned).fit_to(networks, canonicaliser)
        for share in SHARES:
            yield FittedNull(
                f"interpolation {share:g}", _with_strength(between, share=share)
            )
    mean = Soup(aligned).fit_to(networks, canonicaliser)
    for size in (s for s in SIZES if s <= runs):
        yield FittedNull(f"soup of {size}", _with_strength(mean, size=size))
    yield FittedNull(
        "diagonal Gaussian", DiagonalGaussian(aligned).fit_to(networks, canonicaliser)
    )
    if rank < 1:
        return
    joint = PCAGaussian(aligned).fit_to(networks, canonicaliser)
    for sigma in SIGMAS:
        yield FittedNull(f"PCA-Gaussian {sigma:g}", _with_strength(joint, sigma=sigma))
    full_rank = len(joint.components_.basis)
    for count in (c for c in RANKS if c < full_rank):
        yield FittedNull(f"PCA-Gaussian, rank {count}", _truncated(joint, count))


def _with_strength(null: Null, **changes: object) -> Null:
    """Return a copy of a fitted null with another strength."""
    changed = type(null).__new__(type(null))
    vars(changed).update({**vars(null), **changes})
    return changed


def _truncated(null: PCAGaussian, count: int) -> Null:
    components = null.components_
    leading = replace(
        components, basis=components.basis[:count], deviation=components.deviation[:count]
    )
    return _with_strength(null, components=count, components_=leading)
