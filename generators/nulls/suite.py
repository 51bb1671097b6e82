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
"""Aligned nulls that come a second time, disguised."""


@dataclass(frozen=True)
class FittedNull:
    """A fitted null with the name under which it is reported.

    Attributes
    ----------
    label : str
    null : Null
    """

    label: str
    null: Null


def fitted_nulls(
    population: Population, training: Population, canonicaliser: Canonicaliser | None
) -> Iterator[FittedNull]:
    """Fitted nulls: first those of networks as they were, then those of aligned ones.

    They are made of the last checkpoints of runs: earlier ones would be worse nulls. Where
    units may be reordered, some of the aligned ones come again, disguised. Strengths that
    the population is too small for are left out.

    Parameters
    ----------
    population : Population
        Training networks as they were.
    training : Population
        The same in canonical units, such as ``training_`` of a generator.
    canonicaliser : Canonicaliser, optional
        What took them there; None if they are the same.
    """
    population, training = (
        networks.select(last_rows(networks)[0]) for networks in (population, training)
    )
    sides: list[tuple[bool, Population, Canonicaliser | None]] = [(False, population, None)]
    if canonicaliser is not None:
        sides.append((True, training, canonicaliser))
    for aligned, networks, own in sides:
        word = ", aligned" if aligned else ""
        disguise = Disguised(aligned).fit_to(networks, own)
        if not aligned:
            yield FittedNull("train", Train(aligned).fit_to(networks, own))
        if aligned or canonicaliser is None:
            yield FittedNull("train, disguised", disguise)
        for entry in _strengths(aligned, networks, own):
            yield FittedNull(f"{entry.label}{word}", entry.null)
            if aligned and settings(entry.null) in [settings(null) for null in AGAIN]:
                again = disguise.of(entry.null)
                yield FittedNull(f"{entry.label}, disguised", again)


def _strengths(
    aligned: bool, networks: Population, own: Canonicaliser | None
) -> Iterator[FittedNull]:
    """One is fitted of each kind; the others differ in strength alone."""
    runs = len(set(networks["run_id"]))
    rank = min(len(networks) - 1, networks.layout.d)
    noisy = TrainNoise(aligned).fit_to(networks, own)
    for sigma in NOISES:
        yield FittedNull(f"train + {sigma:g} sd", _with(noisy, sigma=sigma))
    if runs > 1:
        between = Interpolation(aligned).fit_to(networks, own)
        for share in SHARES:
            yield FittedNull(f"interpolation {share:g}", _with(between, share=share))
    mean = Soup(aligned).fit_to(networks, own)
    for size in (s for s in SIZES if s <= runs):
        yield FittedNull(f"soup of {size}", _with(mean, size=size))
    yield FittedNull("diagonal Gaussian", DiagonalGaussian(aligned).fit_to(networks, own))
    if rank < 1:
        return
    joint = PCAGaussian(aligned).fit_to(networks, own)
    for sigma in SIGMAS:
        yield FittedNull(f"PCA-Gaussian {sigma:g}", _with(joint, sigma=sigma))
    whole = len(joint.components_.basis)
    for count in (c for c in RANKS if c < whole):
        yield FittedNull(f"PCA-Gaussian, rank {count}", _truncated(joint, count))


def _with(null: Null, **changes: object) -> Null:
    """The same fit with another strength."""
    other = type(null).__new__(type(null))
    vars(other).update({**vars(null), **changes})
    return other


def _truncated(null: PCAGaussian, count: int) -> Null:
    own = null.components_
    fewer = replace(own, basis=own.basis[:count], deviation=own.deviation[:count])
    return _with(null, components=count, components_=fewer)
