"""Robustness to noise on the inputs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch

from catalog.dtypes import Array
from catalog.schema import Column
from zoo.engine.evaluate import Evaluation
from zoo.engine.stack_weights import StackWeights
from zoo.merging.joint_view import joint_views, subsample
from zoo.merging.made_weights import SampleErrors, judge_weights, stacked_rows
from zoo.merging.skill import skilled
from zoo.metric import Metric, check_least
from zoo.networks import Networks, Progress
from zoo.objective import Batch, LogitObjective
from zoo.randomness import stream

SIGMAS = (0.25, 0.5, 1.0, 2.0)
"""Standard deviations of the noise, in units of that of the normalised inputs."""


@dataclass(frozen=True)
class InputNoise(Metric):
    """Test error with Gaussian noise on the inputs.

    All networks get the same noise, drawn with the seed. Networks on tokens or on points of
    an equation have no values, because noise cannot be added to such inputs.

    Parameters
    ----------
    samples : int, default=2000
        Largest number of test samples.
    """

    name: ClassVar[str] = "noise"
    summary: ClassVar[str] = "test error with Gaussian noise of several sizes on inputs"
    version: ClassVar[int] = 2
    suite: ClassVar[str] = "downstream"
    columns: ClassVar[tuple[Column, ...]] = (
        Column(
            "noise_error", pa.float64(), "fraction",
            "test error with noise on the inputs, mean over the sizes of noise",
        ),
        Column(
            "noise_rise", pa.float64(), "fraction",
            "noise_error minus the error without noise on the same samples",
        ),
        Column(
            "noise_rise_se", pa.float64(), "fraction",
            "standard error of noise_rise over the test samples",
        ),
        Column(
            "noise_curve", pa.string(), "JSON",
            "test error by standard deviation of the noise",
        ),
    )  # fmt: skip

    samples: int = 2000

    def __post_init__(self) -> None:
        check_least(self, samples=2)

    @torch.no_grad()
    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Return values (n,) by column; NaN for networks that are not finite.

        Networks without skill, see `zoo.merging.skill`, have no ``noise_rise``.
        """
        n, layout = len(networks), networks.architecture.layout
        out = self.blank(n)
        alive = np.flatnonzero(networks.alive)
        images = networks.data.x["test"]
        has_logits = isinstance(networks.objective, LogitObjective)
        if not has_logits or images.dtype.kind not in "fu" or images.ndim != 4:
            return out
        views = [
            subsample(v, self.samples, "noisy", seed)
            for v in joint_views(networks, alive[:, None], "test")
        ]
        length = max((len(v.index) for v in views), default=0)
        shape = (length, *images.shape[1:])
        draws = stream(seed, "input noise").standard_normal(shape, np.float32)
        noise = torch.from_numpy(draws).to(networks.device)
        for part in stacked_rows(len(alive), 12 * layout.d + 60 * length):
            rows = alive[part]
            runs = [networks.runs[i] for i in rows]
            evaluation = Evaluation(
                networks.data, "test", runs, views[part], networks.device
            )
            stack = StackWeights(layout, networks.weights[rows], networks.device)
            errors = np.full(
                (1 + len(SIGMAS), *evaluation.counted.shape), np.nan, np.float32
            )
            for columns, batch in evaluation.batches(networks.architecture):
                for k, sigma in enumerate((0.0, *SIGMAS)):
                    x = batch.x + sigma * noise[columns]
                    _, value = networks.objective.judge(
                        networks.architecture, stack.tensors, Batch(x, batch.y)
                    )
                    errors[k, :, columns] = 1 - value.cpu().numpy()
            self._fill(out, rows, errors, evaluation.counted.cpu().numpy())
            progress((rows[-1] + 1) / n)
        single_rows = [[int(i)] for i in alive]
        validation_errors = judge_weights(
            networks, networks.weights[alive], single_rows, ["validation"]
        )
        unskilled = alive[~skilled(networks.take(alive), validation_errors["validation"])]
        out["noise_rise"][unskilled] = out["noise_rise_se"][unskilled] = np.nan
        return out

    def _fill(
        self, out: dict[str, Array], rows: Array, errors: Array, counted: Array
    ) -> None:
        """Fill the values of some networks from errors (sizes, networks, samples)."""
        curve = [SampleErrors(size, size, counted).error for size in errors]
        noisy = errors[1:].mean(0)
        errors_by_row = SampleErrors(
            *(np.concatenate([errors[0], noisy]),) * 2, np.tile(counted, (2, 1))
        )
        first = np.arange(len(rows))
        rise = errors_by_row.gain((first + len(rows))[:, None], first)
        out["noise_error"][rows] = np.mean(curve[1:], 0)
        out["noise_rise"][rows], out["noise_rise_se"][rows] = rise.values, rise.errors
        for k, i in enumerate(rows):
            pairs = zip((0.0, *SIGMAS), curve, strict=True)
            by_sigma = {f"{sigma:g}": round(float(error[k]), 6) for sigma, error in pairs}
            out["noise_curve"][i] = json.dumps(by_sigma)

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: forward passes for every size of noise and on validation."""
        noisy = (1 + len(SIGMAS)) * min(self.samples, train_samples)
        return networks * (noisy + train_samples / 5) / 3


noise = InputNoise()
