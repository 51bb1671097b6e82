"""What is known about one set of networks: arrays of each, numbers of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from catalog.dtypes import Array
from generators.judging.two_sample import TwoSample
from probes.judging.bootstrap import mean_interval, share_interval

SPREADS = (0.25, 0.5, 0.9)
"""Novelties that are asked for: shares of the distance between training networks."""


@dataclass(frozen=True)
class Judged:
    """Networks judged against training and held-out networks.

    Attributes
    ----------
    label : str
    calibration : str or None
        What was done to them, and to what they are compared with.
    accuracy, loss : ndarray of shape (n,)
        On the test split; cross-entropy in nats.
    bar : float
        5th percentile of the accuracy of held-out networks, calibrated alike.
    spaces : dict of str to ndarray of shape (n,)
        Novelty in each space of weights: raw, transported, matched (see `Matcher`), and
        over the parameters without the last layer; calibrated networks also before it, and
        over the tensors that it leaves.
    functions : dict of str to ndarray of shape (n,)
        Novelty in function, which does not depend on the order and scale of units, as it is
        and with the last layer refit; calibrated networks also before it.
    novelty : ndarray of shape (n,)
        The smallest of all these.
    ratio : ndarray of shape (n,)
        d1 / d2: nearest over second nearest training network, in the space of weights where
        it is nearest. Near 0 for copies, near 1 for new networks.
    row : ndarray of shape (n,), int64
        The nearest training network in that space.
    agreement, agreement_functional : ndarray of shape (n,)
        Share of test samples with the class that the nearest network in weights, or in
        function, gives.
    overlap : ndarray of shape (n,)
        Largest intersection over union of its errors with those of a training network.
    scores : dict of str to float
        Z_U of `copying_score` by space.
    tests : dict of str to TwoSample
        By space; of weights before calibration.
    dispersion : dict of str to float
        Root mean square distance from their mean over that of training networks, by space;
        of weights before calibration.
    coverage : int
        Distinct training networks that are nearest to one of them.
    gain : float
        See `ensemble_gain`.
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
        found: Array = np.min(list(self.functions.values()), axis=0)
        return found

    def performant(self, spread: float) -> Array:
        """Which networks (n,) are novel and performant (N&P).

        Parameters
        ----------
        spread : float
            Novelty that is asked for, in every space.
        """
        good: Array = (self.accuracy >= self.bar) & (self.novelty >= spread)
        return good

    def row_of(self, name: str) -> dict[str, Any]:
        """Where it stands: one row of a table."""
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
        """All of it as JSON values; intervals of 95 %, by bootstrap, of shares Wilson's."""

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
                "spaces": {name: spread_of(own) for name, own in self.spaces.items()},
                "functions": {n: spread_of(own) for n, own in self.functions.items()},
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
