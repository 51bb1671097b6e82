"""Reader of Ray Tune folders, as the phase zoo and ModelZooDataset publish them.

A trial is a folder with ``params.json``, ``result.json`` (one JSON line per epoch) and
``checkpoint_000012/checkpoints``. Lines and checkpoints are matched by
``training_iteration``, never by position: some zoos have a line for epoch 0, some do
not. Epochs without a checkpoint are left out; of a trial without checkpoints, the metrics
alone are read. ``params.pkl`` and ``optimizer`` are never opened.

=========================== ========================= ==================================
published                   column                    remark
=========================== ========================= ==================================
``model::type``             ``architecture_name``
``model::width``            ``width``
``training::batchsize``     ``batch_size``            samples per optimiser step
``training::epochs_train``  ``steps``                 epochs, as ``step_unit`` says
``optim::optimizer``        ``optimizer``
``optim::scheduler``        ``schedule``              OneCycleLR: one_cycle, none: constant
``optim::lr``               ``lr``                    of OneCycleLR the peak
``optim::wd``               ``weight_decay``
``optim::momentum``         ``momentum``
``training_iteration``      ``step`` and ``epoch``    epochs
``test_loss``, ``test_acc`` ``test_loss``, ``test_accuracy``
``val_loss``, ``val_acc``   ``validation_loss``, ``validation_accuracy``
``train_loss``              ``running_train_loss``    mean over the epoch while weights
``train_acc``               ``running_train_accuracy`` change; -999 (not measured): null
=========================== ========================= ==================================

If ``training::task`` is regression, ``*_acc`` is a coefficient of determination and the
loss is a squared error, so the columns are called ``*_r2`` and ``*_mse``. Other settings
and metrics keep their names, with ``_`` for ``::``. Ray's records of machine and clock are
left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from catalog import CatalogError
from catalog.formats.columns import Row, divided, published
from catalog.formats.format import Network
from catalog.formats.json_columns import flatten, read_settings
from catalog.formats.source import rows_beside
from zoo.formats.torch_file import read_torch_file

_SETTINGS = {
    "model_type": "architecture_name",
    "model_width": "width",
    "training_batchsize": "batch_size",
    "training_epochs_train": "steps",
    "optim_optimizer": "optimizer",
    "optim_scheduler": "schedule",
    "optim_lr": "lr",
    "optim_wd": "weight_decay",
    "optim_momentum": "momentum",
}
_SCHEDULES = {"OneCycleLR": "one_cycle", None: "constant"}
_SPLITS = {"train": "running_train", "test": "test", "val": "validation"}
_MACHINE = frozenset(
    [
        "agent_timesteps_total",
        "checkpoint_dir_name",
        "config",
        "date",
        "done",
        "episodes_total",
        "experiment_id",
        "experiment_tag",
        "hostname",
        "iterations_since_restore",
        "node_ip",
        "pid",
        "should_checkpoint",
        "time_since_restore",
        "timestamp",
        "timesteps_since_restore",
        "timesteps_total",
        "training_iteration",
        "trial_id",
        "warmup_time",
    ]
)
_NOT_MEASURED = -999


class Ray:
    """Reader of Ray Tune folders."""

    name = "ray"
    summary = "Ray Tune folders: params.json, result.json, checkpoint_*/checkpoints"
    grid = ("width", "batch_size")
    takes_table = True

    def recognises(self, source: Path) -> bool:
        """Return whether the source contains a folder with settings and results."""
        return source.is_dir() and any(
            path.with_name("result.json").is_file() for path in source.rglob("params.json")
        )

    def read(self, source: Path, metadata: Path | None = None) -> Iterator[Network]:
        """Yield the networks of all trials, ordered by path and epoch.

        Raises
        ------
        CatalogError
            If there is no trial, a trial lacks results, a line is not JSON, or a checkpoint
            has no line.
        """
        trials = sorted(path.parent for path in source.rglob("params.json"))
        if not trials:
            raise CatalogError(
                f"{source} contains no trial: expected a folder with a params.json."
            )
        names = [_name(trial, source) for trial in trials]
        rows, _ = rows_beside(source, metadata, names)
        for name, trial in zip(names, trials, strict=True):
            yield from _trial(name, trial, rows[name])


def _name(trial: Path, source: Path) -> str:
    """Return the name of a trial: its path below the source."""
    return (
        source.resolve().name if trial == source else trial.relative_to(source).as_posix()
    )


def _trial(name: str, trial: Path, row: Row) -> Iterator[Network]:
    """Yield the networks of one trial, epoch by epoch."""
    config = flatten(read_settings(trial / "params.json"), f"{trial}/params.json")
    lines = _results(trial / "result.json")
    checkpoints = _checkpoints(trial)
    missing = sorted(checkpoints.keys() - lines.keys())
    if missing:
        raise CatalogError(
            f"{trial}: {checkpoints[missing[0]].name} has no line with "
            f"training_iteration {missing[0]} in result.json ({len(missing)} of "
            f"{len(checkpoints)} checkpoints have no line). Fetch the run again, or move "
            "it out of the source."
        )
    regression = config.get("training_task") == "regression"
    run, from_row = divided({**published(_run_columns(config)), **row})
    first = next(iter(lines.values()))
    if isinstance(first.get("trial_id"), str):
        run["trial_id"] = first["trial_id"]
    for step in sorted(checkpoints or lines):
        path = checkpoints.get(step)
        file = read_torch_file(path / "checkpoints") if path else None
        metrics = published(_metrics(lines[step], regression))
        columns = {**divided(metrics, free="checkpoint")[1], **from_row}
        if file:
            columns |= file.notes
        yield Network(
            f"{name}/{path.name}" if path else f"{name}/result.json epoch {step}",
            file.tensors if file else None,
            run,
            {**columns, "epoch": float(step)},
            run_name=name,
            step=step,
        )


def _run_columns(config: Row) -> Row:
    """Return the settings of a trial under the names of columns."""
    columns: Row = {"step_unit": "epochs"}
    for key, value in config.items():
        name = _SETTINGS.get(key, key)
        if name == "schedule" and (value is None or isinstance(value, str)):
            value = _SCHEDULES.get(value, value)
        if name in columns or (name != key and name in config):
            name = key
        columns[name] = value
    return columns


def _results(path: Path) -> dict[int, Mapping[str, Any]]:
    """Return lines by epoch; the last line of an epoch counts, as a resumed Ray appends."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CatalogError(
            f"{path} cannot be read: {error}. A trial needs its results; fetch the run "
            "again, or move it out of the source."
        ) from error
    lines: dict[int, Mapping[str, Any]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)  # accepts NaN and Infinity
            step = value["training_iteration"]
            if type(step) is not int or step < 0:
                raise ValueError(f"training_iteration is {step!r}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CatalogError(
                f"{path}, line {number} is truncated or not a result with a "
                f"training_iteration: {error}. Fetch the run again, or move it out of "
                "the source."
            ) from error
        lines[step] = value
    if not lines:
        raise CatalogError(
            f"{path} is empty: the trial never finished an epoch. Move the trial out of "
            "the source."
        )
    return lines


def _checkpoints(trial: Path) -> dict[int, Path]:
    """Return the checkpoint folders of a trial by epoch."""
    folders: dict[int, Path] = {}
    for path in sorted(trial.iterdir()):
        match = re.fullmatch(r"checkpoint_0*([0-9]+)", path.name)
        if not match or not path.is_dir():
            continue
        step = int(match[1])
        if step in folders:
            raise CatalogError(
                f"{trial} has two folders for epoch {step}, {folders[step].name} and "
                f"{path.name}. Delete one of them."
            )
        if not (path / "checkpoints").is_file():
            raise CatalogError(
                f"{path} has no file 'checkpoints'. Fetch the run again, or delete the "
                "folder to keep the epoch's metrics alone."
            )
        folders[step] = path
    return folders


def _metrics(line: Mapping[str, Any], regression: bool) -> Row:
    """Return the metrics of a line under the names of columns."""
    columns: Row = {}
    metrics = {key: value for key, value in line.items() if key not in _MACHINE}
    for key, value in flatten(metrics, "result.json").items():
        split, _, metric = key.rpartition("_")
        name = key
        if split in _SPLITS and metric in ("loss", "acc"):
            loss, score = ("mse", "r2") if regression else ("loss", "accuracy")
            name = f"{_SPLITS[split]}_{loss if metric == 'loss' else score}"
            if value == _NOT_MEASURED:
                value = None
        columns[name] = value
    return columns


ray = Ray()
