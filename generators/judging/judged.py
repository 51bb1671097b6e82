"""Results for one set of judged networks: arrays per network, numbers for the set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from catalog.dtypes import Array
from generators.judging.two_sample import TwoSample
from probes.judging.bootstrap import mean_interval, share_interval

SPREADS = (0.25, 0.5, 0.9)
"""Required novelties, as shares of the distance between training networks."""


@dataclass(frozen=True)
class Judged:
    """Networks judged against training and held-out networks.

    Attributes
    ----------
    label : str
        Name of the set of networks.
    calibration : str or None
        Calibration of these networks and of those that they are compared with.
    accuracy, loss : ndarray of shape (n,)
        Accuracy, and cross-entropy in nats, on the test split.
    bar : float
        5th percentile of the accuracy of held-out networks with the same calibration.
    spaces : dict of str to ndarray of shape (n,)
        Novelty in each space of weights: raw, transported, matched (see `Matcher`), and
        over the parameters without the last layer; for calibrated networks also before
        calibration, and over the tensors that the calibration leaves.
    functions : dict of str to ndarray of shape (n,)
        Novelty in function, which does not depend on the order and scale of units, directly
        and with the last layer refitted; for calibrated networks also before calibration.
    novelty : ndarray of shape (n,)
        The smallest of all these novelties.
    ratio : ndarray of shape (n,)
        d1 / d2: distance to the nearest over that to the second nearest training network,
        in the space of weights where the network is nearest. Near 0 for copies, near 1 for
        new networks.
    row : ndarray of shape (n,), int64
        The nearest training network in that space.
    agreement, agreement_functional : ndarray of shape (n,)
        Share of test samples with the same predicted class as the nearest network in
        weights, and as the nearest network in function.
    overlap : ndarray of shape (n,)
        Largest intersection over union of the network's errors with those of a training
        network.
    scores : dict of str to float
        Z_U of `copying_score` by space.
    tests : dict of str to TwoSample
        Two-sample tests by space; those of weights are before calibration.
    dispersion : dict of str to float
        Root mean square distance from the mean over that of training networks, by space;
        that of weights is before calibration.
    coverage : int
        Number of distinct training networks that are nearest to one of the networks.
    gain : float
        Gain by voting, see `ensemble_gain`.
    """

    label: str
    calibration: str | None
    accuracy: Array
    loss: Array
    bar: float
    spaces: Mapping[str, Array]
    functions: Mapping[str, Array]
    novelty: Array
    ratio: Array
    row: Array
    agreement: Array
    agreement_functional: Array
    overlap: Array
    scores: Mapping[str, float]
    tests: Mapping[str, TwoSample]
    dispersion: Mapping[str, float]
    coverage: int
    gain: float

    def __len__(self) -> int:
        return len(self.accuracy)

    @property
    def functional(self) -> Array:
        """Novelty (n,) in function: the smallest of `functions`."""
        smallest: Array = np.min(list(self.functions.values()), axis=0)
        return smallest

    def performant(self, spread: float) -> Array:
        """Return which networks (n,) are novel and performant (N&P).

        Parameters
        ----------
        spread : float
            Novelty that is required in every space.
        """
        passed: Array = (self.accuracy >= self.bar) & (self.novelty >= spread)
        return passed

    def row_of(self, name: str) -> dict[str, Any]:
        """Return the results as one row of a table under the given name."""
        return {
            "networks": name,
            "accuracy": float(self.accuracy.mean()),
            "novelty": float(np.median(self.novelty)),
            "in function": float(np.median(self.functional)),
            "agreement": float(self.agreement.mean()),
            "overlap": float(self.overlap.mean()),
            **{
                f"N&P {spread:g}": float(self.performant(spread).mean())
                for spread in SPREADS
            },
            "Z_U": min(self.scores.values()),
        }

    def summary(self) -> dict[str, Any]:
        """Return all results as JSON values.

        Intervals are of 95 %: by bootstrap, and Wilson's for shares.
        """

        def mean(values: Array) -> dict[str, float]:
            low, high = mean_interval(values)
            return {"mean": float(values.mean()), "low": low, "high": high}

        def spread_of(values: Array) -> dict[str, float]:
            marks = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
            names = ("p05", "p25", "median", "p75", "p95")
            return {name: float(v) for name, v in zip(names, marks, strict=True)}

        def share(passed: Array) -> dict[str, float]:
            low, high = share_interval(passed)
            return {"share": float(passed.mean()), "low": low, "high": high}

        return {
            "label": self.label,
            "calibration": self.calibration,
            "count": len(self),
            "accuracy": {
                **mean(self.accuracy),
                **spread_of(self.accuracy),
                "deviation": float(self.accuracy.std()),
                "bar": self.bar,
            },
            "loss": mean(self.loss),
            "novelty": {
                **spread_of(self.novelty),
                "spaces": {
                    name: spread_of(novelty) for name, novelty in self.spaces.items()
                },
                "functions": {
                    n: spread_of(novelty) for n, novelty in self.functions.items()
                },
                "functional": spread_of(self.functional),
            },
            "novel_and_performant": [
                {"spread": spread, **share(self.performant(spread))} for spread in SPREADS
            ],
            "d1_over_d2": spread_of(self.ratio),
            "agreement": {
                "nearest_in_weights": mean(self.agreement),
                "nearest_in_function": mean(self.agreement_functional),
            },
            "largest_error_overlap": mean(self.overlap),
            "copying_score": dict(self.scores),
            "two_sample": {
                name: {"sampled": t.sampled, "heldout": t.heldout, "count": t.count}
                for name, t in self.tests.items()
            },
            "dispersion": dict(self.dispersion),
            "coverage": {"distinct": self.coverage, "of": len(self)},
            "ensemble_gain": self.gain,
        }
