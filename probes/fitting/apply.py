"""What a saved probe says about other networks of a catalogue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import CatalogError, Layout, LayoutMismatch
from catalog.catalog import Catalog
from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.quoting import literal
from probes import file as probe_file
from probes.fitting import predictions
from probes.fitting.applied import Applied, judged
from probes.fitting.inputs import Material, blocks, statistics
from probes.fitting.plan import among_themselves
from probes.fitting.selection import layouts, rows
from probes.fitting.training_set import LearntFrom
from probes.probe import Probe
from probes.statistics.within import numbered


def apply_probe(
    catalog: Catalog,
    path: str | Path,
    *,
    where: str = "true",
    steps: str = "last",
    announce: Callable[[str], None] = lambda line: None,
) -> tuple[pa.Table, dict[str, int], Applied]:
    """Predict with a probe that `fit_probe` kept, and write the predictions back.

    The columns are those that the fit filled. The one that ends with ``_split`` says
    "train" of a network that the probe learnt from, and of every copy; "test" of one that
    it was judged on; "kin" of others that the fit keeps on one side with what was learnt
    from, such as children and, by cell, other seeds; "new" of all others.

    Parameters
    ----------
    path : str or Path
        The file of the probe.
    where, steps
        See `probes.fitting.selection.Question.of`.
    announce : callable
        Is told what to mind, and whose predictions were replaced.

    Returns
    -------
    predictions : pyarrow.Table
        ``run_id``, ``step``, the predictions, and the split.
    left_out : dict of str to int
        Selected networks without a prediction, by the reason.
    applied : Applied
        Scores on networks with a known target that the probe has not learnt from.

    Raises
    ------
    LayoutMismatch
        If the networks have other tensors than those that the probe learnt from.
    CatalogError
        If the file holds no probe with its targets, or does not say what it learnt from,
        or nothing is selected.
    """
    path = Path(path)
    about = probe_file.about(path)
    if "labels" not in about:
        raise CatalogError(
            f"{path} does not say what it predicts. Write it with 'phasezoo probe NAME "
            "--target COLUMN', or use probes.load(...).predict(weights)."
        )
    with probe_file.as_probe(path):
        learnt = LearntFrom.read(about, path)
    probe = probe_file.load(path)
    table, left_out = rows(catalog, where, steps)
    with probe_file.as_probe(path):
        scores, cut = _decided(catalog, table, probe, about, path, announce)
        standing = learnt.standing(catalog, table)
        split = np.where(standing.kin, "kin", "new").astype(object)
        split[np.isin(table["run_id"].to_pylist(), about["test"])] = "test"
        split[standing.same] = "train"
        columns = predictions.columns_of(probe.name, about["target"], about["labels"])
        applied = judged(catalog, table, probe, scores, cut, about, standing)
        predicted = probe.targets_.decide(scores, cut)
        told = predictions.prediction_table(table, columns, predicted, split.tolist())
        provenance = {**about["provenance"], "applied": {"where": where, "steps": steps}}
    predictions.write(catalog, told, probe.name, provenance, announce)
    return told, left_out, applied


def _decided(
    catalog: Catalog,
    table: pa.Table,
    probe: Probe,
    about: dict[str, Any],
    path: Path,
    announce: Callable[[str], None],
) -> tuple[Array, float]:
    """Scores (n, width), and the one from which a label holds."""
    if probe.layout is not None:
        _check_layout(catalog, table, probe.layout, path)
        own = blocks(catalog, table, probe.layout)
        parts = [probe._decided(block) for block in own]
        return np.concatenate([scores for scores, _ in parts]), parts[0][1]
    params = {**probe.get_params(deep=False), "aggregate": about["aggregate"]}
    X = _ordered(statistics(catalog, table, params), about, path)
    if about["relative"] is not None:
        zoos, learnt = table["zoo"].to_pylist(), about["learnt_from"]["zoos"]
        if unseen := sorted(set(zoos) - set(learnt)):
            announce(among_themselves(unseen))
        X = numbered(X, zoos, about["zoos"])
    return probe._decided(X)


def _check_layout(catalog: Catalog, table: pa.Table, layout: Layout, path: Path) -> None:
    """Names and shapes must agree; how a tensor is stored and permuted need not."""
    for arch, own in layouts(table).items():
        theirs = {p.name: p.shape for p in catalog.layout(arch) if p.in_vector}
        for param in layout:
            if param.in_vector and theirs.get(param.name) != param.shape:
                told = (
                    f"of shape {theirs[param.name]}"
                    if param.name in theirs
                    else "not there"
                )
                raise LayoutMismatch(
                    f"{path} reads {param.name!r} of shape {param.shape}; in {len(own)} of "
                    f"the selected networks it is {told}. Narrow --where, e.g. "
                    f"{word(f'arch_id <> {literal(arch)}')}; the probe 'statistics' learns "
                    "from several layouts."
                )


def _ordered(material: Material, about: dict[str, Any], path: Path) -> Array:
    names = about["statistics"]
    place = {name: i for i, name in enumerate(material.statistics)}
    lacking = [name for name in names if name not in place]
    if not about[
        "aggregate"
    ]:  # another depth: the last layer is not the one that was the last
        lacking += [name for name in place if name not in names]
    if lacking:
        raise LayoutMismatch(
            f"{path} reads {len(names)} statistics, the selected networks have "
            f"{len(place)}: {', '.join(map(repr, lacking[:3]))} on one side only. Narrow "
            "--where to networks with the same tensors, or learn anew with --set "
            "aggregate=true."
        )
    found: Array = np.ascontiguousarray(material.X[:, [place[name] for name in names]])
    return found
