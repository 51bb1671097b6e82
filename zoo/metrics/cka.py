"""Similarity of the representations of a cell's seeds by linear CKA."""

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
from zoo.landscape.pair_means import pair_columns, pair_means
from zoo.metric import Metric, check_least
from zoo.networks import Networks, Progress, Samples
from zoo.randomness import stream

FEATURE_FLOATS = 1 << 26
"""Number of features in memory before they are reduced."""

KEPT_FLOATS = 1 << 25
"""Number of reduced features in double precision that a cell keeps: 256 MiB. If all layers
need more, the layers are taken in turns, each with a separate forward pass. A single layer
is always allowed."""

TOKENS = 8192
"""Largest number of tokens that count as samples, but at least one per sequence."""

REFRESH_BATCH = 128
"""Number of inputs per batch when statistics of batch normalisation are estimated. The
number is fixed because the estimate depends on the batch size, but must not depend on the
number of networks that are measured."""

LOGITS = "logits"


def _columns() -> Iterator[Column]:
    others = "mean over the cell's other seeds"
    for name, meaning in (
        ("logit_cka", "linear CKA of the logits"),
        ("hidden_cka", "mean over hidden layers of their linear CKA"),
        ("cka_first", "linear CKA of the first hidden layer"),
        ("cka_last", "linear CKA of the last hidden layer"),
    ):
        yield from pair_columns(name, "0 to 1", f"{meaning}; {others}")
    random = "linear CKA of the logits with the logits of freshly initialised networks"
    yield Column("logit_cka_random", pa.float64(), "0 to 1", random)
    spread = "standard error of logit_cka_random over the freshly initialised networks"
    yield Column("logit_cka_random_se", pa.float64(), "0 to 1", spread)
    layers = f"linear CKA by hidden layer, null where it is not defined; {others}"
    yield Column("layer_cka", pa.string(), "JSON", layers)


@dataclass(frozen=True)
class CKA(Metric):
    """Linear centred kernel alignment between every two seeds of a cell.

    CKA is from 0 to 1 and does not depend on the rotation and scale of the features. All
    networks of a cell get the same inputs, and one estimate is computed from all inputs:
    the means over small batches that were published with some zoos have a larger bias.
    Tokens of sequences count as samples, at most `TOKENS` of them, at random positions
    that all networks share; the map of a convolution is one vector.

    Features that do not vary over inputs, as those of a dead layer, have a CKA of NaN. The
    level of CKA depends on the architecture and the data. As a baseline,
    ``logit_cka_random`` is the CKA of a trained network with freshly initialised networks.

    Parameters
    ----------
    split : str, default="validation"
        Split of the inputs. Of the training split, all inputs are used, not only the
        subset of a run. Phases are assigned by CKA, which must therefore not use the test
        split; on training inputs, networks that memorised them agree more. Every task has
        a validation split.
    samples : int, default=1280
        Largest number of samples.
    debiased : bool, default=False
        See `zoo.landscape.linear_cka.Features.cka`; published values are biased.
    random : int, default=3
        Number of freshly initialised networks; their statistics of batch normalisation
        are estimated on the inputs.

    References
    ----------
    .. [1] Kornblith et al. 2019, arXiv:1905.00414; CKA of the logits as in Yang et al.
       2021, arXiv:2107.11228. Difference: inputs are not combined by mixup.
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
        """Return values (n,) by column; NaN or None for networks without a pair."""
        # CKA needs inputs, not labels, so subsets and label noise of runs are dropped.
        runs = tuple(replace(r, train_samples=None, label_noise=0.0) for r in networks.runs)
        networks = replace(networks, runs=runs)
        n, pairs = len(networks), networks.pairs()
        by_layer: dict[str, Array] = {}
        random_cka, random_cka_se = np.full((2, n), np.nan)
        position, done = np.full(n, -1), 0.0
        for rows in self._cells(networks):
            cells = networks.take(rows)
            position[rows] = np.arange(len(rows))
            pair_rows = np.flatnonzero(np.isin(pairs[:, 0], rows))
            local_pairs = torch.from_numpy(position[pairs[pair_rows]]).to(networks.device)
            turns = self._turns(cells, seed)
            for layers in turns:
                features_by_layer = self._features(cells, layers, seed)
                for layer, features in features_by_layer.items():
                    values = features.cka(features, local_pairs, debiased=self.debiased)
                    column = by_layer.setdefault(layer, np.full(len(pairs), np.nan))
                    column[pair_rows] = values.cpu().numpy()
                if LOGITS in features_by_layer:
                    anchor = self._anchor(cells, seed)
                    random_cka[rows], random_cka_se[rows] = self._to_random(
                        features_by_layer[LOGITS], anchor
                    )
                done += len(rows) / len(turns)
                progress(min(1.0, done / n))
        progress(1.0)
        out = {"logit_cka_random": random_cka, "logit_cka_random_se": random_cka_se}
        logits = by_layer.pop(LOGITS)
        out["logit_cka"], out["logit_cka_se"] = pair_means(pairs, logits, n)
        return {**out, **_hidden(by_layer, pairs, n)}

    def passes(self, networks: int, pairs: int, train_samples: int) -> float:
        """Return the cost: a forward pass of every network and of the random networks."""
        return (networks + self.random) * self.samples / 3

    def _cells(self, networks: Networks) -> Iterator[Array]:
        """Yield rows of whole cells that have the same inputs and fit the memory."""
        cells: dict[tuple[str, str], list[int]] = {}
        for i, (run, cell) in enumerate(zip(networks.runs, networks.cells, strict=True)):
            selection = run.classes, run.one_vs_rest
            inputs = repr((*selection, run.label_map, run.transform))
            cells.setdefault((inputs, cell), []).append(i)
        largest = FEATURE_FLOATS // (self.samples * networks.architecture.activations)
        rows: list[int] = []
        last_inputs = ""
        for (inputs, _), group in sorted(cells.items(), key=lambda item: item[0][0]):
            if rows and (inputs != last_inputs or len(rows) + len(group) > largest):
                yield np.array(rows)
                rows = []
            last_inputs = inputs
            rows += group
        if rows:
            yield np.array(rows)

    @torch.no_grad()
    def _turns(self, networks: Networks, seed: int) -> list[set[str]]:
        """Return sets of layers whose reduced features fit the memory, in order."""
        first_network = networks.take([0])
        inputs = first_network.samples(self.split, self.samples, seed)
        first = next(inputs.batches(1)).x
        shapes = _taps(
            first_network, first_network.stacked(), [first], _Tokens(len(inputs), seed)
        )
        turns: list[set[str]] = []
        available = 0
        for layer, values in shapes.items():
            rows, width = len(inputs) * values.shape[1], values.shape[2]
            needed = len(networks) * rows * min(rows, width)
            if needed > available or not turns:
                turns.append(set())
                available = KEPT_FLOATS
            turns[-1].add(layer)
            available -= needed
        return turns

    @torch.no_grad()
    def _features(
        self, networks: Networks, layers: set[str], seed: int
    ) -> dict[str, Features]:
        """Return the features of some layers, the logits last."""
        activations = networks.architecture.activations
        largest = max(1, FEATURE_FLOATS // (self.samples * activations))
        parts: dict[str, list[Features]] = {}
        for start in range(0, len(networks), largest):
            chunk = networks.take(range(start, min(start + largest, len(networks))))
            samples = chunk.samples(self.split, self.samples, seed)
            inputs = _inputs(chunk, samples)
            tokens = _Tokens(len(samples), seed)
            values_by_layer = _taps(chunk, chunk.stacked(), inputs, tokens, layers)
            for layer, values in values_by_layer.items():
                parts.setdefault(layer, []).append(Features.of(values))
        return {layer: Features.joined(features) for layer, features in parts.items()}

    @torch.no_grad()
    def _anchor(self, networks: Networks, seed: int) -> Features:
        """Return the logits of random networks on the inputs of given networks."""
        architecture, first_network = networks.architecture, networks.take([0])
        vectors = [
            architecture.init(stream(seed, f"random network {k}"))
            for k in range(self.random)
        ]
        weights = StackWeights(architecture.layout, np.stack(vectors), networks.device)
        samples = first_network.samples(self.split, self.samples, seed)
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
        """Return the mean CKA (n,) with random networks, and its standard error.

        Random networks whose logits do not vary are left out.
        """
        n = len(logits.kept)
        grid = torch.cartesian_prod(torch.arange(n), torch.arange(self.random))
        pairs = grid.to(logits.kept.device)
        pair_values = logits.cka(anchor, pairs, debiased=self.debiased)
        values = pair_values.view(n, self.random)
        count = values.isfinite().sum(1)
        mean = values.nanmean(1, keepdim=True)
        squares = (values - mean).square().nansum(1)
        error = torch.where(count > 1, squares / (count * (count - 1)), torch.nan).sqrt()
        return mean[:, 0].cpu().numpy(), error.cpu().numpy()


def _inputs(networks: Networks, samples: Samples) -> list[Tensor]:
    """Return inputs (n, b, ...) in batches that stay in the cache."""
    size = CHUNK_FLOATS // (len(networks) * networks.architecture.activations)
    return [batch.x for batch in samples.batches(max(16, size))]


def _taps(
    networks: Networks,
    weights: StackWeights,
    inputs: list[Tensor],
    tokens: _Tokens,
    layers: set[str] | None = None,
) -> dict[str, Tensor]:
    """Return features (n, samples, features) of some layers or all, the logits last."""
    parts: dict[str, list[Tensor]] = {}
    start = 0
    for x in inputs:
        taps: Taps = {}
        logits = networks.architecture.forward(weights.tensors, x, taps=taps)
        for layer, values in [*taps.items(), (LOGITS, logits)]:
            if layers is None or layer in layers:
                parts.setdefault(layer, []).append(_as_samples(values, start, tokens))
        start += x.shape[1]
    return {layer: torch.cat(batches, 1) for layer, batches in parts.items()}


class _Tokens:
    """Random choice of the tokens of each sequence that count as samples."""

    def __init__(self, sequences: int, seed: int) -> None:
        self._sequences, self._seed = sequences, seed
        self._per_sequence = max(1, TOKENS // sequences)
        self._choices: dict[int, Tensor] = {}

    def of(self, values: Tensor, start: int) -> Tensor:
        """Select the tokens of (n, b, length, features).

        ``start`` is the number of the first sequence.
        """
        n, b, length, width = values.shape
        if length <= self._per_sequence:
            return values
        if length not in self._choices:
            generator = stream(self._seed, f"tokens of {length}")
            order = generator.random((self._sequences, length)).argsort(1)[
                :, : self._per_sequence
            ]
            self._choices[length] = torch.from_numpy(np.sort(order, 1)).to(values.device)
        picks = self._choices[length][start : start + b, :, None]
        return values.gather(2, picks.expand(n, b, self._per_sequence, width))


def _as_samples(values: Tensor, start: int, tokens: _Tokens) -> Tensor:
    """Reshape ``(n, b, ...)`` to (n, samples, features); four axes mean tokens."""
    if values.dim() != 4:
        return values.flatten(2)
    return tokens.of(values, start).flatten(1, 2)


def _hidden(by_layer: dict[str, Array], pairs: Array, n: int) -> dict[str, Array]:
    """Return the columns of the hidden layers."""
    missing = np.full(len(pairs), np.nan)
    layers = list(by_layer.values()) or [missing]
    out: dict[str, Array] = {}
    mean = np.mean(layers, 0)
    out["hidden_cka"], out["hidden_cka_se"] = pair_means(pairs, mean, n)
    out["cka_first"], out["cka_first_se"] = pair_means(pairs, layers[0], n)
    out["cka_last"], out["cka_last_se"] = pair_means(pairs, layers[-1], n)
    means = {name: pair_means(pairs, values, n)[0] for name, values in by_layer.items()}
    out["layer_cka"] = np.array([_json(means, i) for i in range(n)], object)
    return out


def _json(means: dict[str, Array], i: int) -> str | None:
    """Return a network's values by layer as JSON, or None if all are missing."""
    values = {
        name: round(float(column[i]), 6) if np.isfinite(column[i]) else None
        for name, column in means.items()
    }
    has_values = any(value is not None for value in values.values())
    return json.dumps(values) if has_values else None


cka = CKA()
