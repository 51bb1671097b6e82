"""Application of a saved probe to other networks of a catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog import CatalogError, Layout, LayoutMismatch
from catalog.catalog import Catalog
from catalog.checkpoints import layouts, rows
from catalog.console.pasting import word
from catalog.dtypes import Array
from catalog.plugins.keywords import takes_fields
from catalog.quoting import literal
from probes import file as probe_file
from probes.fitting import predictions
from probes.fitting.applied import Applied, judge_new
from probes.fitting.inputs import ProbeInputs, weight_chunks, weight_statistics
from probes.fitting.plan import among_themselves
from probes.fitting.request import Checkpoints
from probes.fitting.training_set import TrainingSet
from probes.probe import Probe
from probes.statistics.within import numbered


@takes_fields(Checkpoints)
def apply_probe(
    catalog: Catalog,
    path: str | Path,
    *,
    announce: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> tuple[pa.Table, dict[str, int], Applied]:
    """Predict with a probe that `fit_probe` saved, and write the predictions back.

    Nothing is written to a remote catalogue; the predictions are only returned.

    The predictions fill the same columns as those of the fit. The column that ends with
    ``_split`` is "train" for networks of the training set and all their copies, "test" for
    networks that the fit was tested on, "kin" for networks related to the training set
    (the fit keeps these on one side with the training networks, such as children and, with
    ``by="cell"``, other seeds), and "new" for all other networks.

    Parameters
    ----------
    path : str or Path
        File of the probe.
    announce : callable
        Called with warnings, and with a line for each fit whose predictions were replaced.
    **options
        Options of `Checkpoints`: the networks to predict.

    Returns
    -------
    predictions : pyarrow.Table
        ``run_id``, ``step``, the predictions, and the split.
    left_out : dict of str to int
        Number of selected networks without a prediction, by reason.
    applied : Applied
        Scores on networks with a known target outside the training set.

    Raises
    ------
    LayoutMismatch
        If the tensors of the networks differ from those of the training networks.
    CatalogError
        If the file holds no probe with its targets, if it does not record its training
        set, or if nothing is selected.
    """
    path, chosen = Path(path), Checkpoints(**options)
    about = probe_file.about(path)
    if "labels" not in about:
        raise CatalogError(
            f"{path} does not record its target. Write it with 'phasezoo probe NAME "
            "--target COLUMN', or use probes.load(...).predict(weights)."
        )
    with probe_file.as_probe(path):
        training_set = TrainingSet.read(about, path)
    probe = probe_file.load(path)
    table, left_out = rows(catalog, chosen.where, chosen.steps)
    with probe_file.as_probe(path):
        scores, cut = _decided(catalog, table, probe, about, path, announce)
        standing = training_set.standing(catalog, table)
        split = np.where(standing.kin, "kin", "new").astype(object)
        split[np.isin(table["run_id"].to_pylist(), about["test"])] = "test"
        split[standing.same] = "train"
        columns = predictions.prediction_columns(
            probe.name, about["target"], about["labels"]
        )
        applied = judge_new(catalog, table, probe, scores, cut, about, standing)
        predicted = probe.targets_.decide(scores, cut)
        written = predictions.prediction_table(table, columns, predicted, split.tolist())
        provenance = {**about["provenance"], "applied": asdict(chosen)}
    predictions.write(catalog, written, probe.name, provenance, announce)
    return written, left_out, applied


def _decided(
    catalog: Catalog,
    table: pa.Table,
    probe: Probe,
    about: dict[str, Any],
    path: Path,
    announce: Callable[[str], None],
) -> tuple[Array, float]:
    """Compute scores (n, width), and the score above which a label is predicted."""
    if probe.layout is not None:
        _check_layout(catalog, table, probe.layout, path)
        chunks = weight_chunks(catalog, table, probe.layout)
        parts = [probe._decided(block) for block in chunks]
        return np.concatenate([scores for scores, _ in parts]), parts[0][1]
    params = {**probe.get_params(deep=False), "aggregate": about["aggregate"]}
    X = _ordered(weight_statistics(catalog, table, params), about, path)
    if about["relative"] is not None:
        zoos, training_zoos = table["zoo"].to_pylist(), about["learnt_from"]["zoos"]
        if unseen := sorted(set(zoos) - set(training_zoos)):
            announce(among_themselves(unseen))
        X = numbered(X, zoos, about["zoos"])
    return probe._decided(X)


def _check_layout(catalog: Catalog, table: pa.Table, layout: Layout, path: Path) -> None:
    """Check that names and shapes of tensors agree; dtypes and symmetries may differ."""
    for arch, arch_rows in layouts(table).items():
        shapes = {p.name: p.shape for p in catalog.layout(arch) if p.in_vector}
        for param in layout:
            if param.in_vector and shapes.get(param.name) != param.shape:
                difference = (
                    f"it has shape {shapes[param.name]}"
                    if param.name in shapes
                    else "it is missing"
                )
                raise LayoutMismatch(
                    f"{path} reads {param.name!r} of shape {param.shape}; in "
                    f"{len(arch_rows)} of the selected networks {difference}. Narrow "
                    f"--where, e.g. {word(f'arch_id <> {literal(arch)}')}; the probe "
                    "'statistics' reads several layouts."
                )


def _ordered(inputs: ProbeInputs, about: dict[str, Any], path: Path) -> Array:
    names = about["statistics"]
    place = {name: i for i, name in enumerate(inputs.statistics)}
    unmatched = [name for name in names if name not in place]
    if not about["aggregate"]:  # at another depth the last layer is another one
        unmatched += [name for name in place if name not in names]
    if unmatched:
        raise LayoutMismatch(
            f"{path} reads {len(names)} statistics, and the selected networks have "
            f"{len(place)}; only one of the two has "
            f"{', '.join(map(repr, unmatched[:3]))}. Narrow --where to networks with the "
            "same tensors, or fit the probe again with --set aggregate=true."
        )
    X: Array = np.ascontiguousarray(inputs.X[:, [place[name] for name in names]])
    return X
