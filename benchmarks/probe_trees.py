"""Claim: exact probes tell what networks were trained on better than learnt ones, cheaper.

The networks of `tree_mini` in a catalogue, e.g.

    phasezoo train tree_mini_roots --data DIR --catalog FOLDER
    phasezoo train tree_mini --data DIR --catalog FOLDER

Forty labels: which classes a network was fine-tuned on, 20 of 40, so that chance is .5.
Experts of one tree each; the fixed split of siblings, of which "test" is judged once.
Published probes read the layer that the exact sweep picks on training networks. Accuracy
over labels with a 95 % interval, which resamples networks and seeds, and processor-seconds
of fitting. Probes that draw nothing have one seed.

``--only`` names contestants; learnt ones go on from state files in ``--states``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from timing import digits, progress, report

import catalog
from catalog import Catalog, Population
from catalog.dtypes import Array
from catalog.quoting import literal
from probes import sweep
from probes.estimators.kernel import KernelProbe
from probes.estimators.linear import LinearProbe
from probes.estimators.mvprobe import MVProbe
from probes.estimators.probex import ProbeX
from probes.estimators.statistics_probe import StatisticsProbe
from probes.estimators.tucker import TuckerProbe
from probes.judging.folds import Folds
from probes.judging.judge import judge
from probes.judging.kinship import parents_in
from probes.layers import layers_of
from probes.probe import Probe

LABELS = 40
Make = Callable[[Population, str], Probe]


class DenseProbe(LinearProbe):
    """The dense expert as published: one linear layer, Adam, hardly a penalty."""

    epochs: int = 100

    def _fit(self, X: Array, y: Array, groups: Array) -> None:
        torch.manual_seed(0)
        (layer,) = self.layers_
        own = torch.from_numpy(np.ascontiguousarray(X[:, layer.columns]))
        self.mean_ = own.mean(0) if self.root is not None else torch.zeros(own.shape[1])
        own = own - self.mean_
        self.rms_ = own.square().mean().sqrt() if self.root is not None else 1.0
        own, labels = own / self.rms_, torch.from_numpy(y.astype(np.float32))
        self.network_ = torch.nn.Linear(own.shape[1], y.shape[1])
        adam = torch.optim.Adam(self.network_.parameters(), 1e-3, weight_decay=1e-5)
        loss = torch.nn.BCEWithLogitsLoss()
        for _ in range(self.epochs):
            for rows in torch.randperm(len(own)).split(128):
                adam.zero_grad()
                loss(self.network_(own[rows]), labels[rows]).backward()
                adam.step()

    def _scores(self, X: Array) -> Array:
        (layer,) = self.layers_
        own = torch.from_numpy(np.ascontiguousarray(X[:, layer.columns]))
        with torch.no_grad():
            return 0.5 + self.network_((own - self.mean_) / self.rms_).double().numpy()


def contestants(epochs: dict[str, int]) -> dict[str, Make]:
    """Probes of a population and the layer that the sweep picked."""

    def kind(cls: Callable[..., Probe], **options: object) -> Make:
        return lambda nets, layer: cls(
            "classification", layout=nets.layout, layer=layer, **options
        )

    def every(cls: Callable[..., Probe], **options: object) -> Make:
        """On all matrices of hidden layers: the head's outputs belong to no class."""
        return lambda nets, layer: cls(
            "classification", layout=nets.layout,
            layer=[each.name for each in layers_of(nets.layout)[:-1]], **options,
        )  # fmt: skip

    return {
        "statistics, boosted trees": kind(
            StatisticsProbe, model="boosting", spectrum=False
        ),
        "statistics, ours": kind(StatisticsProbe),
        "dense, Adam, raw": kind(DenseProbe, root=None),
        "dense, Adam, root removed": kind(DenseProbe),
        "ridge": kind(LinearProbe),
        "tucker, shared": kind(TuckerProbe),
        "tucker, by target": kind(TuckerProbe, bases="target"),
        "probex, paper": kind(ProbeX.paper, epochs=epochs["probex"]),
        "probex, root removed": kind(ProbeX, epochs=epochs["probex"]),
        "probex, root removed, to norm 1": kind(
            ProbeX, scale="sample", epochs=epochs["probex"]
        ),
        "probex, cores 32": kind(ProbeX, cores=32, epochs=epochs["cores"]),
        "mvprobe, paper": kind(MVProbe.paper, epochs=epochs["mvprobe"]),
        "mvprobe, root removed": kind(
            MVProbe.paper, root="mean", scale="global", epochs=epochs["mvprobe"]
        ),
        "mvprobe, cores 32": kind(MVProbe, cores=32, epochs=epochs["cores"]),
        "ridge, all hidden layers": every(LinearProbe),
        "ridge, all hidden layers, each to norm 1": every(LinearProbe, scale="sample"),
        "kernel, all hidden layers, each to norm 1": every(KernelProbe, scale="sample"),
        "tucker, to norm 1": kind(TuckerProbe, scale="sample"),
    }


def trees(store: Catalog) -> Iterator[tuple[str, Population, Array, Folds]]:
    """Each tree: its networks, 0/1 labels and the split of siblings."""
    parents = parents_in(store)
    saw = f"[list_contains((config->'$.classes')::INT[], c)::INT FOR c IN range({LABELS})]"
    query = (
        f"SELECT run_id, step, parents[1].run_id AS root, {saw} AS saw FROM models "
        "WHERE zoo = 'tree_mini' AND step = steps ORDER BY root, run_id"
    )
    rows = store.sql(query).to_arrow_table()
    for root in sorted(set(rows["root"].to_pylist())):
        nets = store.load(
            f"zoo = 'tree_mini' AND step = steps AND parents[1].run_id = {literal(root)}"
        )
        known = dict(zip(rows["run_id"].to_pylist(), rows["saw"].to_pylist(), strict=True))
        labels = np.array([known[run] for run in nets["run_id"].tolist()], np.int64)
        yield root, nets, labels, Folds.of(nets.table, parents, "sibling")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--catalog", required=True)
    parser.add_argument("--only", action="append", help="a contestant; may be repeated")
    parser.add_argument("--trees", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1, help="of those that draw")
    parser.add_argument("--probex", type=int, default=500, help="epochs")
    parser.add_argument("--mvprobe", type=int, default=3000, help="epochs")
    parser.add_argument("--cores", type=int, default=200, help="epochs on cores")
    parser.add_argument("--states", help="folder of state files")
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = contestants(
        {name: getattr(options, name) for name in ("probex", "mvprobe", "cores")}
    )
    store = catalog.open(options.catalog)
    for number, (root, nets, labels, folds) in zip(
        range(options.trees), trees(store), strict=False
    ):
        (fold,) = folds.folds
        train = nets.select(fold.train)
        started = time.process_time()
        ranked = sweep(train, labels[fold.train], task="classification")
        hidden = [each.name for each in layers_of(nets.layout)[:-1]]
        layer = next(
            row["layer"] for row in ranked.table.to_pylist() if row["layer"] in hidden
        )
        report(
            "probe_trees", tree=root, contestant="sweep of all layers", layer=layer,
            processor_seconds=digits(time.process_time() - started),
            layers={
                row["layer"]: digits(row["score"]) for row in ranked.table.to_pylist()
            },
        )  # fmt: skip
        for name in options.only or known:
            probe = known[name](nets, layer)
            draws = "random_state" in probe.get_params() and "statistics" not in name
            if options.states and hasattr(probe, "resume"):
                slug = f"{name}-{number}.state".replace(" ", "_").replace(",", "")
                probe.set_params(resume=str(Path(options.states) / slug), verbose=True)
            seeds = options.seeds if draws and not options.states else 1
            started = time.process_time()
            judged = judge(probe, nets.weights, labels, [folds] * seeds)
            seconds = (time.process_time() - started) / seeds
            found = judged.estimate("accuracy")
            progress(f"{name}: {found.value:.3f}, {seconds:.0f} s")
            report(
                "probe_trees", tree=root, contestant=name, seeds=seeds,
                train=len(fold.train), test=len(fold.test),
                accuracy=[digits(v) for v in (found.value, found.low, found.high)],
                baseline=digits(found.baseline), processor_seconds=digits(seconds),
                epochs=getattr(probe, "epochs", None),
            )  # fmt: skip


if __name__ == "__main__":
    main()
