"""Whether the seeds of a cell represent inputs alike: linear CKA."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from catalog.dtypes import Array
from catalog.schema import Column
from zoo.architecture import Taps
from zoo.evaluate import CHUNK_FLOATS
from zoo.linear_cka import Features
from zoo.metric import Metric
from zoo.networks import Networks, Progress
from zoo.pair_means import pair_means
from zoo.randomness import stream
from zoo.refresh import refresh
from zoo.stack_weights import StackWeights

FEATURE_FLOATS = 1 << 26
"""Features that are in memory before they are reduced, and after."""

LOGITS = "logits"


@dataclass(frozen=True)
class CKA(Metric):
    """Linear centred kernel alignment between every two seeds of a cell.

    From 0 to 1, whatever rotation and scale the features have. All networks of a cell
    see the same inputs, and one estimate is made of all of them: means over small
    batches, as published with some zoos, are biased more. Each token of a sequence
    counts as a sample; the map of a convolution is one vector.

    Its level depends on the architecture and the data: ``logit_cka_random`` has what a
    trained network shares with freshly initialised ones, as an anchor.

    Parameters
    ----------
    split : str, default="test"
        Whose inputs; of the training split all, whatever subset a run saw.
    samples : int, default=1280
        At most.
    debiased : bool, default=False
        See `zoo.linear_cka.Features.cka`; published values are biased.
    random : int, default=3
        Freshly initialised networks; their statistics of batch normalisation come from
        the inputs.

    References
    ----------
    .. [1] Kornblith et al. 2019, arXiv:1905.00414; the logits, as in Yang et al. 2021,
       arXiv:2107.11228. Differs: no mixup of inputs.
    """

    name = "cka"
    summary = "similarity of logits and hidden features between the seeds of a cell"
    columns = (
        Column(
            "logit_cka",
            pa.float64(),
            "0 to 1",
            "linear CKA of the logits; mean over the cell's other seeds",
        ),
        Column(
            "logit_cka_se",
            pa.float64(),
            "0 to 1",
            "standard error of logit_cka over the network's pairs",
        ),
        Column(
            "logit_cka_random",
            pa.float64(),
            "0 to 1",
            "linear CKA of the logits with those of freshly initialised networks",
        ),
        Column(
            "hidden_cka",
            pa.float64(),
            "0 to 1",
            "mean over hidden layers of their linear CKA; mean over the other seeds",
        ),
        Column(
            "hidden_cka_se",
            pa.float64(),
            "0 to 1",
            "standard error of hidden_cka over the network's pairs",
        ),
        Column(
            "cka_first",
            pa.float64(),
            "0 to 1",
            "linear CKA of the first hidden layer; mean over the other seeds",
        ),
        Column(
            "cka_last",
            pa.float64(),
            "0 to 1",
            "linear CKA of the last hidden layer; mean over the other seeds",
        ),
        Column(
            "layer_cka",
            pa.string(),
            "JSON",
            "linear CKA by hidden layer, null where it is not defined; mean over the "
            "other seeds",
        ),
    )
    paired = True

    split: str = "test"
    samples: int = 1280
    debiased: bool = False
    random: int = 3

    def __post_init__(self) -> None:
        if self.split not in ("train", "validation", "test"):
            raise ValueError(
                "The split parameter of CKA must be train, validation or test. Got "
                f"{self.split!r}."
            )
        for name, least in (("samples", 4), ("random", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"The {name} parameter of CKA must be at least {least}. Got "
                    f"{getattr(self, name)!r}."
                )

    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Values (n,) by column; NaN or None where no pair has any."""
        # Inputs are compared on, labels are not: no run's own subset, no noise.
        runs = tuple(replace(r, train_samples=None, label_noise=0.0) for r in networks.runs)
        networks = replace(networks, runs=runs)
        n, pairs = len(networks), networks.pairs()
        by_layer: dict[str, Array] = {}
        random = np.full(n, np.nan)
        place, done = np.full(n, -1), 0
        for rows in self._cells(networks):
            part = networks.take(rows)
            found, anchor = self._features(part, seed)
            place[rows] = np.arange(len(rows))
            here = np.flatnonzero(np.isin(pairs[:, 0], rows))
            local = torch.from_numpy(place[pairs[here]]).to(networks.device)
            for layer, features in found.items():
                values = features.cka(features, local, debiased=self.debiased)
                column = by_layer.setdefault(layer, np.full(len(pairs), np.nan))
                column[here] = values.cpu().numpy()
            random[rows] = self._to_random(found[LOGITS], anchor)
            done += len(rows)
            progress(done / n)
        out = {"logit_cka_random": random}
        logits = by_layer.pop(LOGITS)
        out["logit_cka"], out["logit_cka_se"] = pair_means(pairs, logits, n)
        return {**out, **_hidden(by_layer, pairs, n)}

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """A forward pass for each network, and for the random ones once."""
        return (networks + self.random) * self.samples / 3

    def _cells(self, networks: Networks) -> Iterator[Array]:
        """Rows of whole cells that see the same inputs and fit the memory."""
        cells: dict[tuple[str, str], list[int]] = {}
        for i, (run, cell) in enumerate(zip(networks.runs, networks.cells, strict=True)):
            inputs = repr((run.classes, run.label_map, run.transform))
            cells.setdefault((inputs, cell), []).append(i)
        most = FEATURE_FLOATS // (self.samples * networks.architecture.activations)
        rows: list[int] = []
        before = ""
        for (inputs, _), group in sorted(cells.items(), key=lambda item: item[0][0]):
            if rows and (inputs != before or len(rows) + len(group) > most):
                yield np.array(rows)
                rows = []
            before = inputs
            rows += group
        if rows:
            yield np.array(rows)

    @torch.no_grad()
    def _features(
        self, networks: Networks, seed: int
    ) -> tuple[dict[str, Features], Features]:
        """Features by layer, the logits last, and the logits of random networks."""
        architecture = networks.architecture
        activations = architecture.activations
        most = max(1, FEATURE_FLOATS // (self.samples * activations))
        parts: dict[str, list[Features]] = {}
        for start in range(0, len(networks), most):
            some = networks.take(range(start, min(start + most, len(networks))))
            inputs = _inputs(some, self.split, self.samples, seed)
            for layer, values in _taps(some, some.stacked(), inputs).items():
                parts.setdefault(layer, []).append(Features.of(values))
        found = {layer: Features.joined(each) for layer, each in parts.items()}

        draws = [
            architecture.init(stream(seed, f"random network {k}"))
            for k in range(self.random)
        ]
        random = StackWeights(architecture.layout, np.stack(draws), networks.device)
        inputs = [x[:1].expand(self.random, *x.shape[1:]) for x in inputs]
        refresh(architecture, random, inputs)
        logits = torch.cat([architecture.forward(random.tensors, x) for x in inputs], 1)
        return found, Features.of(_as_samples(logits))

    def _to_random(self, logits: Features, anchor: Features) -> Array:
        """Mean CKA (n,) with the random networks whose logits vary."""
        n = len(logits.kept)
        grid = torch.cartesian_prod(torch.arange(n), torch.arange(self.random))
        pairs = grid.to(logits.kept.device)
        values = logits.cka(anchor, pairs, debiased=self.debiased)
        return values.view(n, self.random).nanmean(1).cpu().numpy()


def _inputs(networks: Networks, split: str, count: int, seed: int) -> list[Tensor]:
    """Inputs (n, b, ...) in batches that stay in the cache."""
    size = CHUNK_FLOATS // (len(networks) * networks.architecture.activations)
    samples = networks.samples(split, count, seed)
    return [batch.x for batch in samples.batches(max(16, size))]


def _taps(
    networks: Networks, weights: StackWeights, inputs: list[Tensor]
) -> dict[str, Tensor]:
    """Features (n, samples, features) by layer, the logits last."""
    parts: dict[str, list[Tensor]] = {}
    for x in inputs:
        taps: Taps = {}
        logits = networks.architecture.forward(weights.tensors, x, taps=taps)
        for layer, values in [*taps.items(), (LOGITS, logits)]:
            parts.setdefault(layer, []).append(_as_samples(values))
    return {layer: torch.cat(each, 1) for layer, each in parts.items()}


def _as_samples(values: Tensor) -> Tensor:
    """``(n, b, ...)`` as (n, samples, features); four axes are tokens."""
    return values.flatten(1, 2) if values.dim() == 4 else values.flatten(2)


def _hidden(by_layer: dict[str, Array], pairs: Array, n: int) -> dict[str, Array]:
    """Columns of the hidden layers."""
    nothing = np.full(len(pairs), np.nan)
    layers = list(by_layer.values()) or [nothing]
    out: dict[str, Array] = {}
    mean = np.mean(layers, 0)
    out["hidden_cka"], out["hidden_cka_se"] = pair_means(pairs, mean, n)
    out["cka_first"] = pair_means(pairs, layers[0], n)[0]
    out["cka_last"] = pair_means(pairs, layers[-1], n)[0]
    means = {name: pair_means(pairs, each, n)[0] for name, each in by_layer.items()}
    out["layer_cka"] = np.array([_json(means, i) for i in range(n)], object)
    return out


def _json(means: dict[str, Array], i: int) -> str | None:
    """A network's values by layer; None if it has none."""
    values = {
        name: round(float(column[i]), 6) if np.isfinite(column[i]) else None
        for name, column in means.items()
    }
    known = any(value is not None for value in values.values())
    return json.dumps(values) if known else None


cka = CKA()
