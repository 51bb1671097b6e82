"""What networks answer on the data that judge them, for many networks at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from catalog import CatalogError, LayoutMismatch, Population
from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.json_column import json_object
from catalog.names import canonical_json
from catalog.quoting import literal
from zoo.engine.evaluate import CHUNK_FLOATS, FEWEST, networks_in_cache
from zoo.engine.stack import build_architecture
from zoo.engine.stack_weights import StackWeights
from zoo.merging.joint_view import sampled
from zoo.merging.made_weights import Group, stacked_rows
from zoo.networks import Networks
from zoo.randomness import stream
from zoo.samples import Images, View, view
from zoo.stored import run_of
from zoo.task import Data, load_task
from zoo.tasks import TASKS

INPUTS = 512
"""Test inputs, at most, whose logits span the function space."""
_AGREED = ("architecture", "task_name", "task", "data_fingerprint")


@dataclass(frozen=True)
class Answers:
    """What n networks say about the m samples of a split.

    Attributes
    ----------
    loss, accuracy : ndarray of shape (n,)
        Cross-entropy in nats.
    labels : ndarray of shape (n, m), int16
        Their classes.
    wrong : ndarray of bool, shape (n, m)
    function : ndarray of shape (n, k c), float32
        Logits of c classes for k inputs, less their mean over classes, all over their
        norm: 0 apart are networks with the same function, whatever the scale of their
        logits, which a copy changes by a factor on its last layer.
    """

    loss: Array
    accuracy: Array
    labels: Array
    wrong: Array
    function: Array

    def take(self, rows: Array) -> Answers:
        """Some of the networks."""
        return Answers(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Exam:
    """The data of a population's task, and an architecture to run.

    Function space is spanned by inputs of the test split, without their labels: networks
    have fitted the training inputs, where they all agree, and random inputs tell nothing
    about the task. Logits, not classes: two networks with the same errors are still told
    apart, and two copies are not. Without their scale, which a copy can have as it likes.

    Attributes
    ----------
    networks : zoo.networks.Networks
        One network that stands for all: what it sees, they see.
    images : int, optional
        Most samples of the test split that are asked, drawn once for all; None: all.
    """

    networks: Networks
    images: int | None = None

    @classmethod
    def of(
        cls,
        population: Population,
        *,
        data: Data | None = None,
        folder: str | Path | None = None,
        device: str = "cpu",
        images: int | None = None,
    ) -> Exam:
        """The exam of networks that were trained on one task.

        Parameters
        ----------
        data : Data, optional
            Of the task; default: loaded.
        folder : str or Path, optional
            Where its files are.
        images : int, optional
            Most test samples: all are many for networks that take milliseconds an image.

        Raises
        ------
        LayoutMismatch
            If networks have several architectures or tasks; the message lists them.
        CatalogError
            If the task or architecture is not recorded, is no classification, or the data
            are others.
        """
        if not len(population):
            raise LayoutMismatch("There is no network to say what is asked.")
        _check_one(population)
        row = {
            name: population.table[name][0].as_py()
            for name in population.table.column_names
        }
        run = run_of({"zoo": "", **row}, None, None)
        run = replace(run, train_samples=None, label_noise=0.0, init_from=None)
        if data is None:
            data = load_task(TASKS[run.task], folder)
        known = row.get("data_fingerprint")
        if known and known != data.fingerprint:
            raise CatalogError(
                f"The networks were trained on other {data.task.title} data (fingerprint "
                f"{known[:8]}, here {data.fingerprint[:8]}). Give the same "
                "files: --data DIR"
            )
        if data.task.objective != "classification":
            raise CatalogError(
                f"Generated networks are judged by their classes, and {data.task.title} is "
                f"{data.task.objective}. Narrow --where to networks that classify."
            )
        architecture = build_architecture(dict(run.architecture))
        if architecture.layout.widened() != population.layout.widened():
            raise LayoutMismatch(
                f"The architecture {architecture.name} has other tensors than the "
                f"networks: {architecture.layout.difference(population.layout)}."
            )
        one = Networks(
            architecture, data, (run,), (0,), ("",), population.weights[:1],
            torch.device(device),
        )  # fmt: skip
        return cls(one, images)

    @property
    def classes(self) -> int:
        """Of the task as these networks see it."""
        return (
            int(max(self._view("train").labels.max(), self._view("test").labels.max())) + 1
        )

    def groups(self, count: int) -> list[Group]:
        """Groups for `zoo.merging`: all networks see the same data."""
        return [[0]] * count

    def truth(self, split: str) -> Array:
        """Labels (m,) of the samples of a split."""
        return self._view(split).labels

    def samples(self, split: str) -> int:
        """How many a split has."""
        return len(self._view(split).index)

    def inputs(self, split: str, count: int) -> tuple[Tensor, Tensor]:
        """Inputs (m, ...) and labels (m,) of at most so many, drawn once for all."""
        one, seen = self.networks, sampled(self._view(split), count, "calibration", 0)
        images = Images(one.data, split, one.runs, one.device)
        index = torch.from_numpy(seen.index + images.start[0]).to(one.device)
        return images.gather(index), torch.from_numpy(seen.labels).to(one.device)

    @torch.no_grad()
    def answers(self, weights: Array, split: str = "test") -> Answers:
        """What networks (n, d) answer; a class is wrong where a logit is not finite."""
        one, seen = self.networks, self._view(split)
        architecture, m = one.architecture, len(seen.index)
        images = Images(one.data, split, one.runs, one.device)
        index = torch.from_numpy(seen.index + images.start[0]).to(one.device)
        truth = torch.from_numpy(seen.labels).to(one.device)
        picked = _spanning(m)
        place = np.full(m, -1)
        place[picked] = np.arange(len(picked))
        n = len(weights)
        loss, labels = np.zeros(n), np.empty((n, m), np.int16)
        function: Array | None = None
        each, most = 12 * architecture.layout.d + 64 * m, networks_in_cache(architecture)
        for part in stacked_rows(n, each, most):
            stack = StackWeights(architecture.layout, weights[part], one.device)
            nets = part.stop - part.start
            size = max(FEWEST, CHUNK_FLOATS // (nets * architecture.activations))
            for start in range(0, m, size):
                own = slice(start, min(start + size, m))
                x = images.gather(index[own][None])
                logits = architecture.forward(stack.tensors, x.expand(nets, *x.shape[1:]))
                logs = torch.log_softmax(logits, -1)
                at = truth[own].expand(nets, -1)[..., None]
                loss[part] -= (
                    logs.gather(-1, at).sum((1, 2), dtype=torch.float64).cpu().numpy()
                )
                best = torch.where(logits.isfinite().all(-1), logits.argmax(-1), -1)
                labels[part, own] = best.to(torch.int16).cpu().numpy()
                if function is None:
                    shape = (n, len(picked), logits.shape[-1])
                    function = np.zeros(shape, np.float32)
                inside = place[own] >= 0
                if inside.any():
                    some = logits[:, torch.from_numpy(inside)].cpu().numpy()
                    function[part, place[own][inside]] = some
        if function is None:
            function = np.zeros((0, 1, 1), np.float32)
        for row in function:
            _to_direction(row)
        wrong = labels != seen.labels
        function = function.reshape(n, -1)
        return Answers(loss / m, 1 - wrong.mean(1), labels, wrong, function)

    @cached_property
    def _views(self) -> dict[str, View]:
        return {}

    def _view(self, split: str) -> View:
        if split not in self._views:
            seen = view(self.networks.runs[0], self.networks.data, split)
            if split == "test" and self.images is not None:
                seen = sampled(seen, self.images, "exam", 0)
            self._views[split] = seen
        return self._views[split]


def _to_direction(logits: Array) -> None:
    """Centre logits (k, c) of one network over classes, and bring them to norm 1."""
    # Of inputs whose logits are not finite nothing is known: 0, far from all.
    logits[~np.isfinite(logits).all(1)] = 0
    logits /= max(float(np.abs(logits).max(initial=0)), np.finfo(np.float32).tiny)
    logits -= logits.mean(1, keepdims=True)
    norm = float(np.linalg.norm(logits.astype(np.float64)))
    if norm > 0:
        logits /= norm


def _spanning(m: int) -> Array:
    """Inputs of a split of m that span the function space, drawn once for all."""
    return np.sort(stream(0, "function space").permutation(m)[:INPUTS])


def _check_one(population: Population) -> None:
    """Refuse networks that are not asked the same."""
    for name in _AGREED:
        if name not in population.table.column_names:
            continue
        counts: dict[str, int] = {}
        for value in population.table[name].to_pylist():
            counts[str(value)] = counts.get(str(value), 0) + 1
        if len(counts) > 1:
            listed = "; ".join(
                f"{count} x {value}" for value, count in list(counts.items())[:5]
            )
            most = max(counts, key=lambda value: counts[value])
            if name == "task":
                most = canonical_json(json_object(most, "The task of a network"))
            raise LayoutMismatch(
                f"The networks have {len(counts)} values of {name}, and what is judged "
                f"answers one question: {listed}. Take one, e.g. "
                f"{word(f'{name} = {literal(most)}')}."
            )
