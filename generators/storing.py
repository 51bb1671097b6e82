"""Samples as runs of a catalogue, with what is known about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from catalog import Population
from catalog.averaging import INHERITED
from catalog.catalog import Catalog
from catalog.dtypes import Array
from catalog.names import canonical_json
from catalog.schema import PARENTS, RUNS
from generators.judging.exam import Answers, Exam
from generators.judging.judged import Judged

PREFIX = "generated_"
"""Starts the names of columns that hold what the judge said."""
_TEXT = ("run_id", "zoo", "source", "operation", "status", "code_version")


def store(
    catalog: Catalog,
    samples: Population,
    exam: Exam,
    answers: Mapping[str, Answers],
    judged: Sequence[Judged],
    *,
    about: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> list[str]:
    """Commit samples as they are, not calibrated, then what the judge said of each.

    Parameters
    ----------
    answers : mapping of str to Answers
        By split: become columns of checkpoints.
    judged : sequence of Judged
        As they are, and calibrated: become columns of `models`, see `columns_of`.
    about : mapping
        Goes into the configuration of each run.
    provenance : mapping
        Of the columns; JSON values.

    Returns
    -------
    list of str
        The columns.
    """
    known = {column.name: column.type for column in RUNS} | {"parents": PARENTS}
    table, n = samples.table, len(samples)
    names = [name for name in (*_TEXT, *INHERITED) if name in table.column_names]
    runs = {name: table[name] for name in names if name != "arch_id"}
    if "parents" in table.column_names:
        runs["parents"] = table["parents"].cast(PARENTS)
    run = exam.networks.runs[0]
    step = int(samples["step"][0])
    configs = []
    for text, run_id in zip(table["config"].to_pylist(), table["run_id"].to_pylist(),
                            strict=True):  # fmt: skip
        own = replace(
            run, steps=max(step, run.steps), checkpoints=(step,), seed=int(run_id[:8], 16)
        )
        configs.append(canonical_json({**json.loads(text), **about, "run": own.config()}))
    runs["config"] = pa.array(configs)
    runs["created"] = pa.array([datetime.now(UTC).isoformat(timespec="seconds")] * n)
    engine = f"{exam.networks.device.type}, torch {torch.__version__}"
    runs["engine"] = pa.array([engine] * n)
    keys = {name: table[name] for name in ("run_id", "step")}
    checkpoints: dict[str, Any] = {**keys, "finite": np.isfinite(samples.weights).all(1)}
    for split, own_answers in answers.items():
        checkpoints[f"{split}_loss"] = pa.array(own_answers.loss, from_pandas=True)
        checkpoints[f"{split}_accuracy"] = own_answers.accuracy
    measures = columns_of(judged)
    with catalog.writer() as writer:
        writer.commit(
            pa.table({k: v.cast(known.get(k, pa.string())) for k, v in runs.items()}),
            pa.table(checkpoints),
            replace(samples, table=pa.table(keys)),
            canonical_json(exam.networks.architecture.config()),
        )
        writer.commit_measures(pa.table({**keys, **measures}), "generate", dict(provenance))
    return list(measures)


def columns_of(judged: Sequence[Judged]) -> dict[str, Array]:
    """What the judge said of each sample, as columns: novelty beside every accuracy."""
    found: dict[str, Array] = {}
    for one in judged:
        start = PREFIX if one.calibration is None else f"{PREFIX}{one.calibration}_"
        if one.calibration is not None:
            found[f"{start}accuracy"] = one.accuracy
        found[f"{start}novelty"] = one.novelty
        found[f"{start}novelty_function"] = one.functional
        found[f"{start}agreement"] = one.agreement
        found[f"{start}error_overlap"] = one.overlap
        found[f"{start}d1_d2"] = one.ratio
    return found
