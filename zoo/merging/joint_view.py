"""What several networks together see of a split, and its inputs in batches."""

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
    """What the networks of each group see of a split.

    Where they saw other samples or labels (a subset or label noise by seed), the group
    sees those of all, one after the other; what is the same is there once.
    """
    known: dict[str, View] = {}
    joined: dict[tuple[str, ...], View] = {}
    found = []
    for group in groups:
        keys = []
        for i in group:
            run = networks.runs[int(i)]
            key = sample_key(run, split)
            if key not in known:
                known[key] = view(run, networks.data, split)
            keys.append(key)
        own = tuple(dict.fromkeys(keys))
        if own not in joined:
            joined[own] = _joined([known[key] for key in own])
        found.append(joined[own])
    return found


def _joined(views: list[View]) -> View:
    if len(views) == 1:
        return views[0]
    return View(
        np.concatenate([seen.index for seen in views]),
        np.concatenate([seen.labels for seen in views]),
    )


def subsample(seen: View, count: int, purpose: str, seed: int) -> View:
    """A fixed random sample of at most ``count``; equal views give equal samples."""
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
        Their transforms count.
    views : sequence of View
        One per network, equally long.
    batch : int
        Inputs of a batch, or all if there are fewer; what does not fill one is left out.
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
        index = np.stack([seen.index for seen in views]) + np.array(images.start)[:, None]
        if (index == index[:1]).all():
            index = index[:1]
        self._images, self._networks = images, len(runs)
        self._index = torch.from_numpy(index).to(networks.device)
        self._batch = min(batch, index.shape[1])

    def batches(self) -> Iterator[Tensor]:
        """Inputs (n, batch, ...)."""
        whole = self._index.shape[1] // self._batch * self._batch
        for index in self._index[:, :whole].split(self._batch, 1):
            x = self._images.gather(index)
            yield x.expand(self._networks, *x.shape[1:])
