"""Storage of samples as runs of a catalogue, with their judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from catalog import Population
from catalog.alignment.average import INHERITED
from catalog.catalog import Catalog
from catalog.dtypes import Array
from catalog.names import canonical_json
from catalog.schema import PARENTS, RUNS
from catalog.storage.json_column import json_object
from generators.exam import Answers, Exam
from generators.generator import Generator
from generators.judging.judged import Judged
from zoo import run_of

PREFIX = "generated_"
"""Prefix of the columns that hold the judgement."""
ROLE = "tensors"
"""Role of a parent from which a sample has all tensors that were not generated."""
_SEEN = ("task", "architecture", "train_samples", "label_noise", "init_from")
_READ = (
    "run_id", "step", "zoo", "config", "task_name", "architecture", "seed", "cell",
    "optimizer", "batch_size", "weight_decay", "beta",
)  # fmt: skip
"""Columns that say how a run was trained, see `zoo.stored.run_of`."""
_TEXT = ("run_id", "zoo", "source", "operation", "status", "code_version")


def store(
    catalog: Catalog,
    samples: Population,
    exam: Exam,
    answers: Mapping[str, Answers],
    judged: Sequence[Judged],
    *,
    generator: Generator,
    about: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
) -> list[str]:
    """Commit samples without calibration, then the judgement of each.

    Parameters
    ----------
    catalog : Catalog
        Catalogue that gets the runs.
    samples : Population
        Samples without calibration.
    exam : Exam
        Exam on all test images.
    answers : mapping of str to Answers
        Predictions by split; their losses and accuracies become columns of checkpoints.
    judged : sequence of Judged
        Samples judged without and with each calibration; the results become columns of
        `models`, see `judgement_columns`.
    generator : Generator
        Fitted generator: settings that all its training networks share go into the
        configurations, and networks that gave tensors to a sample are its parents.
    about : sequence of mapping
        Provenance for the configuration of each run.
    provenance : mapping
        Provenance of the columns as JSON values.

    Returns
    -------
    list of str
        Names of the columns.
    """
    types = {column.name: column.type for column in RUNS} | {"parents": PARENTS}
    table, n = samples.table, len(samples)
    names = [name for name in (*_TEXT, *INHERITED) if name in table.column_names]
    runs = {name: table[name] for name in names if name != "arch_id"}
    parents = parents_of(generator, samples)
    if parents is not None:
        runs["parents"] = parents
    elif "parents" in table.column_names:
        runs["parents"] = table["parents"].cast(PARENTS)
    zoo = table["zoo"][0].as_py() if "zoo" in table.column_names else ""
    step, shared = int(samples["step"][0]), shared_settings(generator.training_)
    # Samples are evaluated on all of the task, with its true labels.
    exam_config = exam.run.config()
    shared |= {name: exam_config[name] for name in _SEEN}
    configs = []
    texts, run_ids = table["config"].to_pylist(), table["run_id"].to_pylist()
    for text, run_id, sample_about in zip(texts, run_ids, about, strict=True):
        run = {
            **shared,
            "zoo": shared.get("zoo", zoo),
            "steps": max(step, shared.get("steps", 0)),
            "checkpoints": [step],
            "seed": int(run_id[:8], 16),  # distinguishes samples where pairs are drawn
        }
        config = json_object(text, f"The config of run {run_id!r}")
        configs.append(canonical_json({**config, **sample_about, "run": run}))
    runs["config"] = pa.array(configs)
    runs["created"] = pa.array([datetime.now(UTC).isoformat(timespec="seconds")] * n)
    engine = f"{exam.device.type}, torch {torch.__version__}"
    runs["engine"] = pa.array([engine] * n)
    keys = {name: table[name] for name in ("run_id", "step")}
    checkpoints: dict[str, Any] = {**keys, "finite": np.isfinite(samples.weights).all(1)}
    for split, split_answers in answers.items():
        checkpoints[f"{split}_loss"] = pa.array(split_answers.loss, from_pandas=True)
        checkpoints[f"{split}_accuracy"] = split_answers.accuracy
    measures: dict[str, Any] = dict(judgement_columns(judged))
    if "extrapolated" in table.column_names:
        measures[f"{PREFIX}extrapolated"] = table["extrapolated"]
    with catalog.writer() as writer:
        writer.commit(
            pa.table({k: v.cast(types.get(k, pa.string())) for k, v in runs.items()}),
            pa.table(checkpoints),
            replace(samples, table=pa.table(keys)),
            canonical_json(exam.architecture.config()),
        )
        writer.commit_measures(pa.table({**keys, **measures}), "generate", dict(provenance))
    return list(measures)


def judgement_columns(judged: Sequence[Judged]) -> dict[str, Array]:
    """Return the judgement of each sample as columns, each accuracy with its novelty."""
    columns: dict[str, Array] = {}
    for judgement in judged:
        prefix = (
            PREFIX if judgement.calibration is None else f"{PREFIX}{judgement.calibration}_"
        )
        if judgement.calibration is not None:
            columns[f"{prefix}accuracy"] = judgement.accuracy
        columns[f"{prefix}novelty"] = judgement.novelty
        columns[f"{prefix}novelty_function"] = judgement.functional
        columns[f"{prefix}agreement"] = judgement.agreement
        columns[f"{prefix}error_overlap"] = judgement.overlap
        columns[f"{prefix}d1_d2"] = judgement.ratio
    return columns


def shared_settings(training: Population) -> dict[str, Any]:
    """Return the settings, as in `Run.config`, on which all training networks agree."""
    names = [name for name in _READ if name in training.table.column_names]
    rows = training.table.select(names).to_pylist()
    runs = {row["run_id"]: row for row in rows}.values()  # one row per run
    configs = [run_of({"zoo": "", **row}, None, None).config() for row in runs]
    return {
        name: value
        for name, value in configs[0].items()
        if all(name in other and other[name] == value for other in configs)
    }


def parents_of(generator: Generator, samples: Population) -> pa.Array | None:
    """Return the training networks that gave samples the tensors that are not generated.

    None if the generator makes all tensors. A sample has no parent if several runs have the
    same tensors.
    """
    codes = getattr(generator, "codes_", None)
    if codes is None or codes.chosen.whole:
        return None
    training = generator.training_
    copied_columns = np.setdiff1d(np.arange(training.layout.d), codes.chosen.columns)
    rows: dict[bytes, list[int]] = {}
    for row, values in enumerate(np.ascontiguousarray(training.weights[:, copied_columns])):
        rows.setdefault(values.tobytes(), []).append(row)
    runs, steps = training["run_id"].tolist(), training["step"].tolist()
    parents = []
    for values in np.ascontiguousarray(samples.weights[:, copied_columns]):
        sources = rows.get(values.tobytes(), [])
        parent_rows = sources if len({runs[row] for row in sources}) == 1 else []
        parents.append(
            [{"run_id": runs[r], "step": steps[r], "role": ROLE} for r in parent_rows[:1]]
        )
    return pa.array(parents, PARENTS)
