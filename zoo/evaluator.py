"""Evaluation of arbitrary weights of one architecture on the data of one task.

Other packages use this module alone: it offers what they need of stacks, splits and batch
normalisation statistics, so that the subpackages of `zoo` can change behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from catalog import CatalogError, LayoutMismatch, Population
from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.names import canonical_json
from catalog.quoting import literal
from catalog.storage.json_column import json_object
from zoo.architecture import Architecture
from zoo.engine.evaluate import CHUNK_FLOATS, FEWEST, networks_in_cache
from zoo.engine.stack import build_architecture
from zoo.engine.stack_weights import StackWeights, parameter_columns
from zoo.merging.joint_view import subsample
from zoo.merging.made_weights import refresh_weights, stacked_rows
from zoo.merging.repair import Statistics, unit_statistics, with_statistics
from zoo.networks import Networks
from zoo.run import Run
from zoo.samples import Images, View, view
from zoo.stored import run_of
from zoo.task import Data, load_task
from zoo.tasks import TASKS

_SHARED_COLUMNS = ("architecture", "task_name", "task", "data_fingerprint")

_Self = TypeVar("_Self", bound="Evaluator")


@dataclass(frozen=True)
class Evaluator:
    """Evaluator of arbitrary weights of one architecture on one task.

    Attributes
    ----------
    networks : zoo.networks.Networks
        One network of the population. It represents all of them, as all networks see the
        same samples.
    test_samples : int, optional
        Maximum number of test samples, one random subset for all networks; None takes all.
    """

    networks: Networks
    test_samples: int | None = None

    @classmethod
    def of(
        cls: type[_Self],
        population: Population,
        *,
        data: Data | None = None,
        folder: str | Path | None = None,
        device: str = "cpu",
        test_samples: int | None = None,
    ) -> _Self:
        """Return the evaluator of networks that were trained on one task.

        Parameters
        ----------
        population : Population
            Networks of one architecture and one task.
        data : Data, optional
            Data of the task; loaded by default.
        folder : str or Path, optional
            Folder with the files of the task.
        device : str, default="cpu"
            Device on which the networks run.
        test_samples : int, optional
            Maximum number of test samples; the whole split takes long for networks that
            need milliseconds per image.

        Raises
        ------
        LayoutMismatch
            If the population is empty, or the networks have several architectures or
            tasks; the message lists them.
        CatalogError
            If the task or architecture is not recorded, the task is not a classification,
            or the networks were trained on other data.
        """
        if not len(population):
            raise LayoutMismatch(
                "The population is empty; an evaluator needs at least one network."
            )
        _check_one_task(population)
        row = {
            name: population.table[name][0].as_py()
            for name in population.table.column_names
        }
        run = run_of({"zoo": "", **row}, None, None)
        run = replace(run, train_samples=None, label_noise=0.0, init_from=None)
        if data is None:
            data = load_task(TASKS[run.task], folder)
        fingerprint = row.get("data_fingerprint")
        if fingerprint and fingerprint != data.fingerprint:
            raise CatalogError(
                f"The networks were trained on other {data.task.title} data: their "
                f"fingerprint is {fingerprint[:8]}, that of the data here is "
                f"{data.fingerprint[:8]}. Give the same files: --data DIR"
            )
        if data.task.objective != "classification":
            raise CatalogError(
                f"Generated networks are evaluated by their classifications, but the "
                f"objective of {data.task.title} is {data.task.objective}. Narrow --where "
                "to networks that classify."
            )
        architecture = build_architecture(dict(run.architecture))
        if architecture.layout.widened() != population.layout.widened():
            raise LayoutMismatch(
                f"The tensors of the architecture {architecture.name} differ from those of "
                f"the networks: {architecture.layout.difference(population.layout)}."
            )
        representative = Networks(
            architecture, data, (run,), (0,), ("",), population.weights[:1],
            torch.device(device),
        )  # fmt: skip
        return cls(representative, test_samples)

    @property
    def architecture(self) -> Architecture:
        """Architecture of the networks."""
        return self.networks.architecture

    @property
    def run(self) -> Run:
        """Configuration of the representative network."""
        return self.networks.runs[0]

    @property
    def device(self) -> torch.device:
        """Device on which the networks run."""
        return self.networks.device

    @property
    def classes(self) -> int:
        """Number of classes of the task as the networks see it."""
        return 1 + int(max(self.labels(split).max() for split in ("train", "test")))

    @property
    def buffers(self) -> Array:
        """Mask (d,) of the weights that are statistics of batch normalisation."""
        mask: Array = ~parameter_columns(self.architecture.layout)
        return mask

    def labels(self, split: str) -> Array:
        """Return the labels (m,) of the samples of a split."""
        return self._view(split).labels

    def samples(self, split: str) -> int:
        """Return the number of samples of a split."""
        return len(self._view(split).index)

    def inputs(self, split: str, count: int) -> tuple[Tensor, Tensor]:
        """Return inputs (m, ...) and labels (m,) of at most ``count`` samples.

        The samples are drawn once, for all networks.
        """
        drawn_view = subsample(self._view(split), count, "calibration", 0)
        images, index = self._images(split, drawn_view)
        return images.gather(index), torch.from_numpy(drawn_view.labels).to(self.device)

    def stacks(
        self, weights: Array, extra_bytes: int = 0
    ) -> Iterator[tuple[slice, StackWeights]]:
        """Yield networks (n, d) in stacks whose activations stay in the cache.

        Parameters
        ----------
        weights : ndarray of shape (n, d)
            Weights of the networks.
        extra_bytes : int, default=0
            Memory that a network needs beside its weights.

        Yields
        ------
        rows : slice
            Rows of the stack's networks in ``weights``.
        stack : StackWeights
            Tensors (nets, ...) by name.
        """
        net_bytes = 12 * self.architecture.layout.d + extra_bytes
        nets_per_stack = networks_in_cache(self.architecture)
        for rows in stacked_rows(len(weights), net_bytes, nets_per_stack):
            stack = StackWeights(self.architecture.layout, weights[rows], self.device)
            yield rows, stack

    def chunk(self, nets: int) -> int:
        """Return how many samples of ``nets`` networks fit into the cache."""
        return max(FEWEST, CHUNK_FLOATS // (nets * self.architecture.activations))

    @torch.no_grad()
    def logits(self, weights: Array, split: str) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield the logits of networks (n, d) on a split, part by part.

        Yields
        ------
        rows : slice
            Networks of the part.
        samples : slice
            Samples of the part, in the order of `labels`.
        logits : Tensor of shape (nets, samples, classes)
            Logits of these networks on these samples.
        """
        m = self.samples(split)
        images, index = self._images(split, self._view(split))
        for rows, stack in self.stacks(weights, 64 * m):
            nets = rows.stop - rows.start
            size = self.chunk(nets)
            for start in range(0, m, size):
                part = slice(start, min(start + size, m))
                x = images.gather(index[part][None])
                x = x.expand(nets, *x.shape[1:])
                yield rows, part, self.architecture.forward(stack.tensors, x)

    def refreshed(self, weights: Array, samples: int) -> Array:
        """Return weights (n, d) with batch normalisation statistics estimated anew.

        Parameters
        ----------
        weights : ndarray of shape (n, d)
            Weights of the networks.
        samples : int
            Maximum number of training inputs.
        """
        groups = [[0]] * len(weights)
        return refresh_weights(self.networks, weights, groups, samples=samples)

    def unit_statistics(self, weights: Array, samples: int) -> Statistics:
        """Return the mean and standard deviation of each unit, averaged over networks.

        Parameters
        ----------
        weights : ndarray of shape (n, d)
            Weights of the networks.
        samples : int
            Maximum number of training inputs.

        Returns
        -------
        dict of str to tuple of two ndarray of shape (1, units)
            Means and standard deviations by affine map; see `zoo.merging.repair`.
        """
        return unit_statistics(self.networks, [[0]], [weights], samples=samples)

    def with_unit_statistics(
        self, weights: Array, goals: Mapping[str, Sequence[Array]], samples: int
    ) -> Array:
        """Return weights (n, d) whose units have given means and standard deviations."""
        groups, pairs = [[0]] * len(weights), {k: tuple(v) for k, v in goals.items()}
        return with_statistics(self.networks, weights, groups, pairs, samples=samples)

    def _images(self, split: str, seen: View) -> tuple[Images, Tensor]:
        """Return the images of a split, and the positions of a view's samples in them."""
        images = Images(self.networks.data, split, self.networks.runs, self.device)
        return images, torch.from_numpy(seen.index + images.start[0]).to(self.device)

    @cached_property
    def _views(self) -> dict[str, View]:
        return {}

    def _view(self, split: str) -> View:
        if split not in self._views:
            split_view = view(self.run, self.networks.data, split)
            if split == "test" and self.test_samples is not None:
                split_view = subsample(split_view, self.test_samples, "exam", 0)
            self._views[split] = split_view
        return self._views[split]


def _check_one_task(population: Population) -> None:
    """Raise `LayoutMismatch` for networks of several architectures, tasks or data."""
    for name in _SHARED_COLUMNS:
        if name not in population.table.column_names:
            continue
        counts: dict[str, int] = {}
        for value in population.table[name].to_pylist():
            counts[str(value)] = counts.get(str(value), 0) + 1
        if len(counts) > 1:
            listed = "; ".join(
                f"{count} x {value}" for value, count in list(counts.items())[:5]
            )
            commonest = max(counts, key=lambda value: counts[value])
            if name == "task":
                commonest = canonical_json(json_object(commonest, "The task of a network"))
            raise LayoutMismatch(
                f"The networks have {len(counts)} values of {name}, but all must share one "
                f"architecture and task: {listed}. Select one of them, e.g. "
                f"{word(f'{name} = {literal(commonest)}')}."
            )
