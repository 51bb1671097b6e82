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
from catalog.plugins.ranges import Setting
from catalog.schema import Column
from catalog.storage.splits import SPLITS
from zoo.architecture import Taps
from zoo.engine.evaluate import CHUNK_FLOATS
from zoo.engine.refresh import refresh
from zoo.engine.stack_weights import StackWeights
from zoo.landscape.linear_cka import Features
from zoo.landscape.pair_means import pair_means
from zoo.metric import Metric, check_least
from zoo.networks import Networks, Progress, Samples
from zoo.randomness import stream

FEATURE_FLOATS = 1 << 26
"""Features that are in memory before they are reduced."""

KEPT_FLOATS = 1 << 25
"""Reduced features in double precision that a cell keeps: 256 MiB. Where all layers need
more, they are taken in turns, with a forward pass for each turn; one layer always fits."""

TOKENS = 8192
"""Tokens of sequences that count as samples, at most, if that is one of each sequence."""

REFRESH_BATCH = 128
"""Inputs of a batch from which statistics of batch normalisation are estimated. Fixed: the
size decides the estimate, and must not depend on how many networks are measured."""

LOGITS = "logits"


def _columns() -> Iterator[Column]:
    others = "mean over the cell's other seeds"
    error = "standard error of the cell's mean {}: jackknife over 3 seeds or more"
    for name, meaning in (
        ("logit_cka", "linear CKA of the logits"),
        ("hidden_cka", "mean over hidden layers of their linear CKA"),
        ("cka_first", "linear CKA of the first hidden layer"),
        ("cka_last", "linear CKA of the last hidden layer"),
    ):
        yield Column(name, pa.float64(), "0 to 1", f"{meaning}; {others}")
        yield Column(f"{name}_se", pa.float64(), "0 to 1", error.format(name))
    random = "linear CKA of the logits with those of freshly initialised networks"
    yield Column("logit_cka_random", pa.float64(), "0 to 1", random)
    spread = "standard error of logit_cka_random over the freshly initialised networks"
    yield Column("logit_cka_random_se", pa.float64(), "0 to 1", spread)
    layers = f"linear CKA by hidden layer, null where it is not defined; {others}"
    yield Column("layer_cka", pa.string(), "JSON", layers)


@dataclass(frozen=True)
class CKA(Metric):
    """Linear centred kernel alignment between every two seeds of a cell.

    From 0 to 1, whatever rotation and scale the features have. All networks of a cell
    see the same inputs, and one estimate is made of all of them: means over small
    batches, as published with some zoos, are biased more. Tokens of sequences count as
    samples, `TOKENS` of them at most, at random places that all networks share; the map
    of a convolution is one vector.

    What does not vary over inputs, such as the features of a dead layer, has none: NaN.
    Its level depends on the architecture and the data: ``logit_cka_random`` has what a
    trained network shares with freshly initialised ones, as an anchor.

    Parameters
    ----------
    split : str, default="validation"
        Whose inputs; of the training split all, whatever subset a run saw. Phases are
        chosen by CKA, and what chooses must not have seen the test split; on training
        inputs networks that know them by heart agree more. Every task has a validation
        split.
    samples : int, default=1280
        At most.
    debiased : bool, default=False
        See `zoo.landscape.linear_cka.Features.cka`; published values are biased.
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
    columns = tuple(_columns())
    paired = True
    version = 2

    split: str = "validation"
    samples: int = 1280
    debiased: bool = False
    random: int = 3

    def __post_init__(self) -> None:
        Setting.of(self, "split").one_of(SPLITS)
        check_least(self, samples=4, random=1)

    def measure(
        self, networks: Networks, *, seed: int, progress: Progress = lambda share: None
    ) -> dict[str, Array]:
        """Values (n,) by column; NaN or None where no pair has any."""
        # Inputs are compared on, labels are not: no run's own subset, no noise.
        runs = tuple(replace(r, train_samples=None, label_noise=0.0) for r in networks.runs)
        networks = replace(networks, runs=runs)
        n, pairs = len(networks), networks.pairs()
        by_layer: dict[str, Array] = {}
        random, random_se = np.full((2, n), np.nan)
        place, done = np.full(n, -1), 0.0
        for rows in self._cells(networks):
            part = networks.take(rows)
            place[rows] = np.arange(len(rows))
            here = np.flatnonzero(np.isin(pairs[:, 0], rows))
            local = torch.from_numpy(place[pairs[here]]).to(networks.device)
            turns = self._turns(part, seed)
            for layers in turns:
                found = self._features(part, layers, seed)
                for layer, features in found.items():
                    values = features.cka(features, local, debiased=self.debiased)
                    column = by_layer.setdefault(layer, np.full(len(pairs), np.nan))
                    column[here] = values.cpu().numpy()
                if LOGITS in found:
                    anchor = self._anchor(part, seed)
                    random[rows], random_se[rows] = self._to_random(found[LOGITS], anchor)
                done += len(rows) / len(turns)
                progress(min(1.0, done / n))
        progress(1.0)
        out = {"logit_cka_random": random, "logit_cka_random_se": random_se}
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
            seen = run.classes, run.one_vs_rest
            inputs = repr((*seen, run.label_map, run.transform))
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
    def _turns(self, networks: Networks, seed: int) -> list[set[str]]:
        """Layers whose reduced features are kept together, in their order."""
        one = networks.take([0])
        inputs = one.samples(self.split, self.samples, seed)
        first = next(inputs.batches(1)).x
        shapes = _taps(one, one.stacked(), [first], _Tokens(len(inputs), seed))
        turns: list[set[str]] = []
        left = 0
        for layer, values in shapes.items():
            rows, width = len(inputs) * values.shape[1], values.shape[2]
            own = len(networks) * rows * min(rows, width)
            if own > left or not turns:
                turns.append(set())
                left = KEPT_FLOATS
            turns[-1].add(layer)
            left -= own
        return turns

    @torch.no_grad()
    def _features(
        self, networks: Networks, layers: set[str], seed: int
    ) -> dict[str, Features]:
        """Features of some layers, the logits last."""
        activations = networks.architecture.activations
        most = max(1, FEATURE_FLOATS // (self.samples * activations))
        parts: dict[str, list[Features]] = {}
        for start in range(0, len(networks), most):
            some = networks.take(range(start, min(start + most, len(networks))))
            samples = some.samples(self.split, self.samples, seed)
            inputs = _inputs(some, samples)
            tokens = _Tokens(len(samples), seed)
            found = _taps(some, some.stacked(), inputs, tokens, layers)
            for layer, values in found.items():
                parts.setdefault(layer, []).append(Features.of(values))
        return {layer: Features.joined(each) for layer, each in parts.items()}

    @torch.no_grad()
    def _anchor(self, networks: Networks, seed: int) -> Features:
        """The logits of random networks on the inputs of these networks."""
        architecture, one = networks.architecture, networks.take([0])
        draws = [
            architecture.init(stream(seed, f"random network {k}"))
            for k in range(self.random)
        ]
        weights = StackWeights(architecture.layout, np.stack(draws), networks.device)
        samples = one.samples(self.split, self.samples, seed)
        batches = [
            batch.x.expand(self.random, *batch.x.shape[1:])
            for batch in samples.batches(REFRESH_BATCH)
        ]
        size = batches[0].shape[1]
        refresh(architecture, weights, (x for x in batches if x.shape[1] == size))
        tokens, parts = _Tokens(len(samples), seed), []
        for k, x in enumerate(batches):
            logits = architecture.forward(weights.tensors, x)
            parts.append(_as_samples(logits, k * REFRESH_BATCH, tokens))
        return Features.of(torch.cat(parts, 1))

    def _to_random(self, logits: Features, anchor: Features) -> tuple[Array, Array]:
        """Mean CKA (n,) with the random networks whose logits vary, and its error."""
        n = len(logits.kept)
        grid = torch.cartesian_prod(torch.arange(n), torch.arange(self.random))
        pairs = grid.to(logits.kept.device)
        found = logits.cka(anchor, pairs, debiased=self.debiased)
        values = found.view(n, self.random)
        count = values.isfinite().sum(1)
        mean = values.nanmean(1, keepdim=True)
        squares = (values - mean).square().nansum(1)
        error = torch.where(count > 1, squares / (count * (count - 1)), torch.nan).sqrt()
        return mean[:, 0].cpu().numpy(), error.cpu().numpy()


def _inputs(networks: Networks, samples: Samples) -> list[Tensor]:
    """Inputs (n, b, ...) in batches that stay in the cache."""
    size = CHUNK_FLOATS // (len(networks) * networks.architecture.activations)
    return [batch.x for batch in samples.batches(max(16, size))]


def _taps(
    networks: Networks,
    weights: StackWeights,
    inputs: list[Tensor],
    tokens: _Tokens,
    layers: set[str] | None = None,
) -> dict[str, Tensor]:
    """Features (n, samples, features) of some layers or all, the logits last."""
    parts: dict[str, list[Tensor]] = {}
    start = 0
    for x in inputs:
        taps: Taps = {}
        logits = networks.architecture.forward(weights.tensors, x, taps=taps)
        for layer, values in [*taps.items(), (LOGITS, logits)]:
            if layers is None or layer in layers:
                parts.setdefault(layer, []).append(_as_samples(values, start, tokens))
        start += x.shape[1]
    return {layer: torch.cat(each, 1) for layer, each in parts.items()}


class _Tokens:
    """Which tokens of each sequence count."""

    def __init__(self, sequences: int, seed: int) -> None:
        self._sequences, self._seed = sequences, seed
        self._each = max(1, TOKENS // sequences)
        self._known: dict[int, Tensor] = {}

    def of(self, values: Tensor, start: int) -> Tensor:
        """Of (n, b, length, features) those that count; ``start`` is the first sequence."""
        n, b, length, width = values.shape
        if length <= self._each:
            return values
        if length not in self._known:
            draw = stream(self._seed, f"tokens of {length}")
            order = draw.random((self._sequences, length)).argsort(1)[:, : self._each]
            self._known[length] = torch.from_numpy(np.sort(order, 1)).to(values.device)
        picks = self._known[length][start : start + b, :, None]
        return values.gather(2, picks.expand(n, b, self._each, width))


def _as_samples(values: Tensor, start: int, tokens: _Tokens) -> Tensor:
    """``(n, b, ...)`` as (n, samples, features); four axes are tokens."""
    if values.dim() != 4:
        return values.flatten(2)
    return tokens.of(values, start).flatten(1, 2)


def _hidden(by_layer: dict[str, Array], pairs: Array, n: int) -> dict[str, Array]:
    """Columns of the hidden layers."""
    nothing = np.full(len(pairs), np.nan)
    layers = list(by_layer.values()) or [nothing]
    out: dict[str, Array] = {}
    mean = np.mean(layers, 0)
    out["hidden_cka"], out["hidden_cka_se"] = pair_means(pairs, mean, n)
    out["cka_first"], out["cka_first_se"] = pair_means(pairs, layers[0], n)
    out["cka_last"], out["cka_last_se"] = pair_means(pairs, layers[-1], n)
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
