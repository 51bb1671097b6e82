"""Samples of a split shared by several networks, and their inputs in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from catalog.dtypes import Array
from zoo.networks import Networks, sample_key
from zoo.randomness import stream
from zoo.run import Run
from zoo.samples import Images, View, view


def joint_views(
    networks: Networks, groups: Sequence[Sequence[int] | Array] | Array, split: str
) -> list[View]:
    """Return the samples and labels of a split for each group of networks.

    If the networks of a group have different samples or labels (a subset or label noise
    by seed), the group has those of all networks, one after the other. Networks with the
    same samples and labels contribute them once.
    """
    view_by_key: dict[str, View] = {}
    view_by_keys: dict[tuple[str, ...], View] = {}
    views = []
    for group in groups:
        keys = []
        for i in group:
            run = networks.runs[int(i)]
            key = sample_key(run, split)
            if key not in view_by_key:
                view_by_key[key] = view(run, networks.data, split)
            keys.append(key)
        distinct = tuple(dict.fromkeys(keys))
        if distinct not in view_by_keys:
            view_by_keys[distinct] = _joined([view_by_key[key] for key in distinct])
        views.append(view_by_keys[distinct])
    return views


def _joined(views: list[View]) -> View:
    """Concatenate views."""
    if len(views) == 1:
        return views[0]
    return View(
        np.concatenate([part.index for part in views]),
        np.concatenate([part.labels for part in views]),
    )


def subsample(seen: View, count: int, purpose: str, seed: int) -> View:
    """Return a fixed random sample of at most ``count`` samples of a view.

    Equal views give equal samples.
    """
    if count >= len(seen.index):
        return seen
    order = stream(seed, purpose).permutation(len(seen.index))
    picks = np.sort(order[:count])
    return View(seen.index[picks], seen.labels[picks])


class Inputs:
    """Inputs of a split for a stack of networks, in batches of one size.

    Parameters
    ----------
    runs : sequence of Run
        One run per network; its transform is applied to the inputs.
    views : sequence of View
        One view per network, all of equal length.
    batch : int
        Number of inputs per batch, or all if there are fewer. Inputs that do not fill the
        last batch are left out.
    split : str, default="train"
        Split of the inputs.
    """

    def __init__(
        self,
        networks: Networks,
        runs: Sequence[Run],
        views: Sequence[View],
        batch: int,
        split: str = "train",
    ) -> None:
        images = Images(networks.data, split, runs, networks.device)
        index = (
            np.stack([run_view.index for run_view in views])
            + np.array(images.start)[:, None]
        )
        if (index == index[:1]).all():
            index = index[:1]
        self._images, self._networks = images, len(runs)
        self._index = torch.from_numpy(index).to(networks.device)
        self._batch = min(batch, index.shape[1])

    def batches(self) -> Iterator[Tensor]:
        """Yield inputs (n, batch, ...)."""
        used = self._index.shape[1] // self._batch * self._batch
        for index in self._index[:, :used].split(self._batch, 1):
            x = self._images.gather(index)
            yield x.expand(self._networks, *x.shape[1:])
