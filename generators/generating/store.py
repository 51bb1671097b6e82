"""Samples as runs of a catalogue, with what is known about them."""

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
"""Starts the names of columns that hold what the judge said."""
ROLE = "tensors"
"""Of a parent: all tensors that were not made are its own."""
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
    """Commit samples as they are, not calibrated, then what the judge said of each.

    Parameters
    ----------
    answers : mapping of str to Answers
        By split: become columns of checkpoints.
    judged : sequence of Judged
        As they are, and calibrated: become columns of `models`, see `judgement_columns`.
    generator : Generator
        Fitted: what all its training networks share goes into the configurations, and
        networks that gave tensors to a sample are its parents.
    about : sequence of mapping
        Goes into the configuration of each run, one each.
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
    parents = parents_of(generator, samples)
    if parents is not None:
        runs["parents"] = parents
    elif "parents" in table.column_names:
        runs["parents"] = table["parents"].cast(PARENTS)
    zoo = table["zoo"][0].as_py() if "zoo" in table.column_names else ""
    step, shared = int(samples["step"][0]), shared_settings(generator.training_)
    # Judged as networks that see all of the task with its own labels.
    seen = exam.run.config()
    shared |= {name: seen[name] for name in _SEEN}
    configs = []
    for text, run_id, own in zip(table["config"].to_pylist(), table["run_id"].to_pylist(),
                                 about, strict=True):  # fmt: skip
        run = {
            **shared,
            "zoo": shared.get("zoo", zoo),
            "steps": max(step, shared.get("steps", 0)),
            "checkpoints": [step],
            "seed": int(run_id[:8], 16),  # tells them apart where pairs are drawn
        }
        config = json_object(text, f"The config of run {run_id!r}")
        configs.append(canonical_json({**config, **own, "run": run}))
    runs["config"] = pa.array(configs)
    runs["created"] = pa.array([datetime.now(UTC).isoformat(timespec="seconds")] * n)
    engine = f"{exam.device.type}, torch {torch.__version__}"
    runs["engine"] = pa.array([engine] * n)
    keys = {name: table[name] for name in ("run_id", "step")}
    checkpoints: dict[str, Any] = {**keys, "finite": np.isfinite(samples.weights).all(1)}
    for split, own_answers in answers.items():
        checkpoints[f"{split}_loss"] = pa.array(own_answers.loss, from_pandas=True)
        checkpoints[f"{split}_accuracy"] = own_answers.accuracy
    measures: dict[str, Any] = dict(judgement_columns(judged))
    if "extrapolated" in table.column_names:
        measures[f"{PREFIX}extrapolated"] = table["extrapolated"]
    with catalog.writer() as writer:
        writer.commit(
            pa.table({k: v.cast(known.get(k, pa.string())) for k, v in runs.items()}),
            pa.table(checkpoints),
            replace(samples, table=pa.table(keys)),
            canonical_json(exam.architecture.config()),
        )
        writer.commit_measures(pa.table({**keys, **measures}), "generate", dict(provenance))
    return list(measures)


def judgement_columns(judged: Sequence[Judged]) -> dict[str, Array]:
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


def shared_settings(training: Population) -> dict[str, Any]:
    """Settings of runs on which all training networks agree, as of `Run.config`."""
    names = [name for name in _READ if name in training.table.column_names]
    rows = training.table.select(names).to_pylist()
    runs = {row["run_id"]: row for row in rows}.values()  # one of several checkpoints
    configs = [run_of({"zoo": "", **row}, None, None).config() for row in runs]
    return {
        name: value
        for name, value in configs[0].items()
        if all(name in other and other[name] == value for other in configs)
    }


def parents_of(generator: Generator, samples: Population) -> pa.Array | None:
    """Training networks that gave samples the tensors that a generator does not make.

    None where it makes all. A sample has no parent if several runs have the same tensors.
    """
    codes = getattr(generator, "codes_", None)
    if codes is None or codes.chosen.whole:
        return None
    training = generator.training_
    rest = np.setdiff1d(np.arange(training.layout.d), codes.chosen.columns)
    rows: dict[bytes, list[int]] = {}
    for row, values in enumerate(np.ascontiguousarray(training.weights[:, rest])):
        rows.setdefault(values.tobytes(), []).append(row)
    runs, steps = training["run_id"].tolist(), training["step"].tolist()
    found = []
    for values in np.ascontiguousarray(samples.weights[:, rest]):
        same = rows.get(values.tobytes(), [])
        one = same if len({runs[row] for row in same}) == 1 else []
        found.append([{"run_id": runs[r], "step": steps[r], "role": ROLE} for r in one[:1]])
    return pa.array(found, PARENTS)
