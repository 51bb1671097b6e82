"""All nulls at several strengths, aligned and not: the points of the null frontier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from catalog import Canonicaliser, Population
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


@dataclass(frozen=True)
class Entry:
    """A fitted null with the name under which it is reported.

    Attributes
    ----------
    label : str
    null : Null
    """

    label: str
    null: Null


def suite(
    population: Population, training: Population, canonicaliser: Canonicaliser | None
) -> Iterator[Entry]:
    """Fitted nulls: first those of networks as they were, then those of aligned ones.

    Strengths that the population is too small for are left out.

    Parameters
    ----------
    population : Population
        Training networks as they were.
    training : Population
        The same in canonical units, such as ``training_`` of a generator.
    canonicaliser : Canonicaliser, optional
        What took them there; None if they are the same.
    """
    sides: list[tuple[bool, Population, Canonicaliser | None]] = [(False, population, None)]
    if canonicaliser is not None:
        sides.append((True, training, canonicaliser))
    for aligned, networks, own in sides:
        runs = len(set(networks["run_id"]))
        rank = min(len(networks) - 1, networks.layout.d)
        word = ", aligned" if aligned else ""
        if not aligned:
            yield Entry("train", Train(aligned).fit_to(networks, own))
            disguised = Disguised(aligned).fit_to(networks, own)
            yield Entry("train, disguised", disguised)
        # One is fitted of each kind; the others differ in strength alone.
        noisy = TrainNoise(aligned).fit_to(networks, own)
        for sigma in NOISES:
            yield Entry(f"train + {sigma:g} sd{word}", _with(noisy, sigma=sigma))
        if runs > 1:
            between = Interpolation(aligned).fit_to(networks, own)
            for share in SHARES:
                yield Entry(f"interpolation {share:g}{word}", _with(between, share=share))
        mean = Soup(aligned).fit_to(networks, own)
        for size in (s for s in SIZES if s <= runs):
            yield Entry(f"soup of {size}{word}", _with(mean, size=size))
        single = DiagonalGaussian(aligned).fit_to(networks, own)
        yield Entry(f"diagonal Gaussian{word}", single)
        if rank < 1:
            continue
        joint = PCAGaussian(aligned).fit_to(networks, own)
        for sigma in SIGMAS:
            yield Entry(f"PCA-Gaussian {sigma:g}{word}", _with(joint, sigma=sigma))
        whole = len(joint.components_.basis)
        for count in (c for c in RANKS if c < whole):
            yield Entry(f"PCA-Gaussian, rank {count}{word}", _truncated(joint, count))


def _with(null: Null, **changes: object) -> Null:
    """The same fit with another strength."""
    other = type(null).__new__(type(null))
    vars(other).update({**vars(null), **changes})
    return other


def _truncated(null: PCAGaussian, count: int) -> Null:
    own = null.components_
    fewer = replace(own, basis=own.basis[:count], deviation=own.deviation[:count])
    return _with(null, components=count, components_=fewer)
