"""Reader of LoRA adapters in safetensors: folders of peft, of diffusers, and of Model-J.

An adapter is a file whose tensors pair up as ``lora_A.weight`` with ``lora_B.weight``
(peft) or ``lora.down.weight`` with ``lora.up.weight`` (diffusers). The text of the
file's header, ``adapter_config.json`` and the numbers of ``trainer_state.json`` become
columns; lists stay text and nothing is evaluated. The first folder of a Model-J path is
kept as ``published_split``. ``lora_rank`` is determined from the shapes of the tensors.

``checkpoint-500`` of the Hugging Face trainer is step 500 of the run named after the folder
above, unless that folder holds an adapter itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError
from catalog.formats.columns import Row, divided, published
from catalog.formats.format import Network
from catalog.formats.header_table import header_table
from catalog.formats.json_columns import flatten, read_settings
from catalog.formats.safetensors_file import Header, read_header, read_tensors
from catalog.formats.source import files_of, rows_beside
from catalog.storage.inside_folder import check_beside

_PAIRS = (("lora_A", "lora_B"), ("lora.down", "lora.up"), ("lora_down", "lora_up"))
_SPLITS = ("train", "val", "validation", "test", "val_holdout", "test_holdout")
_NAMES = {
    "learning_rate": "lr",
    "val_accuracy": "validation_accuracy",
    "train_batch_size": "batch_size",
    "max_steps": "steps",
    "max_train_steps": "steps",
    # The source does not say that the whole training split was evaluated.
    "train_loss": "published_train_loss",
    "train_accuracy": "published_train_accuracy",
}
_CHECKPOINT = re.compile(r"(?:(?P<run>.*)/|)checkpoint-(?P<step>[0-9]+)", re.DOTALL)
_STATE = ("best_metric", "epoch", "global_step", "max_steps", "train_batch_size")


class Lora:
    """Reader of LoRA adapters."""

    name = "lora"
    summary = "LoRA adapters of peft or diffusers: safetensors with A and B pairs"
    takes_table = True

    def recognises(self, source: Path) -> bool:
        """Return True if any safetensors file of the source is an adapter."""
        return any(_is_adapter(path) for path in files_of(source, ".safetensors"))

    def read(self, source: Path, metadata: Path | None = None) -> Iterator[Network]:
        """Yield the adapters in order of their paths.

        Raises
        ------
        CatalogError
            If a file is not an adapter, or half of a pair is missing.
        """
        root = source.parent if source.is_file() else source
        files = [source] if source.is_file() else files_of(source, ".safetensors")
        if not files:
            raise CatalogError(f"{source} has no safetensors file.")
        names = _network_names(files, root)
        network_names = set(names)
        runs = {name: _run_name(name, network_names) for name in names}
        rows, later = rows_beside(source, metadata, names, runs)
        headers = header_table(source, files)
        for i, (name, path) in enumerate(zip(names, files, strict=True)):
            yield _network(name, path, headers.row(i), rows[name], network_names, later)


def rank_columns(where: object, header: Header) -> Row:
    """Return the rank of an adapter, from the shapes in its header; empty for others.

    Parameters
    ----------
    where : object
        Name of the file in errors.
    header : Header
        Header of the file.

    Raises
    ------
    CatalogError
        If half of a pair is missing, or two halves do not fit.
    """
    adapter = any(_half(name) for name in header.shapes)
    return _rank_columns(_ranks(where, header)) if adapter else {}


def _rank_columns(ranks: set[int]) -> Row:
    if len(ranks) > 1:
        return {"lora_rank": None, "lora_ranks": _text(ranks)}
    return {"lora_rank": next(iter(ranks))}


def _is_adapter(path: Path) -> bool:
    try:
        return any(_half(name) for name in read_header(path).shapes)
    except CatalogError:  # the reader reports a damaged file
        return False


def _network_names(files: list[Path], root: Path) -> list[str]:
    """Name adapters by folder, or by file if a folder has several adapters."""
    folders = [path.parent for path in files]
    names = []
    for path in files:
        alone = folders.count(path.parent) == 1 and path.parent != root
        names.append((path.parent if alone else path).relative_to(root).as_posix())
    return names


def _network(
    name: str,
    path: Path,
    text: Row,
    row: Row,
    network_names: set[str],
    later: Collection[str],
) -> Network:
    header = read_header(path)
    ranks = _ranks(path, header)
    columns: Row = {}
    _add(columns, text, path)
    config = _json(path.with_name("adapter_config.json"))
    if config is not None:
        rank, pattern = config.get("r"), config.get("rank_pattern")
        if isinstance(rank, int) and not pattern and ranks != {rank}:
            raise CatalogError(
                f"{path.with_name('adapter_config.json')} says r = {rank}, but the tensors "
                f"of {path.name} have rank {_text(ranks)}. One of the files belongs to "
                "another adapter."
            )
        settings = {key: value for key, value in config.items() if value is not None}
        _add(columns, flatten(settings, str(path)), path)
    state = _json(path.with_name("trainer_state.json")) or {}
    trainer_state = {key: state[key] for key in _STATE if key in state}
    _add(columns, flatten(trainer_state, str(path)), path)
    columns |= _rank_columns(ranks)
    first_folder = name.split("/")[0]
    if first_folder in _SPLITS and "/" in name:
        columns["published_split"] = first_folder
    columns |= row
    run_name, step = _run_of(name, columns, network_names)
    inside_columns = {key: value for key, value in columns.items() if key not in row}
    table_columns = {key: value for key, value in columns.items() if key in row}
    run, checkpoint = divided(published(inside_columns) | table_columns)
    for key in ("best_metric", "not_imported", *later):
        if key in run:
            checkpoint[key] = run.pop(key)
    tensors = read_tensors(path, header)
    return Network(name, tensors, run, checkpoint, run_name=run_name, step=step)


def _run_of(name: str, columns: Row, network_names: set[str]) -> tuple[str, int]:
    run_name, step = str(columns.pop("run_name", None) or ""), 0
    match = _CHECKPOINT.fullmatch(name)
    global_step = columns.pop("global_step", None)
    if type(global_step) is int:
        step = global_step
    elif match:
        step = int(match["step"])
    if type(columns.get("step")) is int:
        step = int(str(columns.pop("step")))
    return run_name or _run_name(name, network_names), step


def _run_name(name: str, network_names: set[str]) -> str:
    """Return the folder above a checkpoint if it is no adapter itself, else the name."""
    match = _CHECKPOINT.fullmatch(name)
    return (
        match["run"]
        if match and match["run"] and match["run"] not in network_names
        else name
    )


def _add(columns: Row, values: Row, path: Path) -> None:
    """Add columns; an existing column must have the same value."""
    for key, value in values.items():
        name = _NAMES.get(key, key)
        if columns.setdefault(name, value) != value:
            raise CatalogError(
                f"{path}: its header, adapter_config.json and trainer_state.json must "
                f"agree on {key}. Got {columns[name]!r} and {value!r}."
            )


def _half(name: str) -> tuple[str, str, bool] | None:
    """Return a tensor's name, the name of its partner, and True if the tensor is A."""
    for down, up in _PAIRS:
        for part, counterpart in ((down, up), (up, down)):
            # peft names the tensor `.lora_A.default.weight` within a model.
            match = re.fullmatch(
                rf"(.*(?:\.|^)){re.escape(part)}((?:\.[^.]+)*\.weight)", name
            )
            if match:
                return name, f"{match[1]}{counterpart}{match[2]}", part == down
    return None


def _ranks(path: object, header: Header) -> set[int]:
    """Return the ranks of all pairs."""
    ranks = set()
    for name, shape in header.shapes.items():
        half = _half(name)
        if half is None:
            continue
        partner = header.shapes.get(half[1])
        if partner is None:
            raise CatalogError(f"{path}: tensor {name!r} has no partner {half[1]!r}.")
        if half[2]:
            if min(len(shape), len(partner)) < 2 or shape[0] != partner[1]:
                raise CatalogError(
                    f"{path}: {name!r} {shape} and {half[1]!r} {partner} must have the "
                    "shapes (rank, inputs) and (outputs, rank)."
                )
            ranks.add(shape[0])
    if not ranks:
        first_names = ", ".join(list(header.shapes)[:3])
        raise CatalogError(
            f"{path} has no LoRA pair; it has {first_names}, ... If it is a full model, "
            "move it out of the folder of adapters and import it with --format "
            "safetensors. This format also reads adapters, without pairing tensors."
        )
    return ranks


def _text(ranks: set[int]) -> str:
    return ", ".join(map(str, sorted(ranks)))


def _json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object beside an adapter; None if there is no such file."""
    if not path.is_file():
        return None
    check_beside(path.parent, path)
    return read_settings(path)


lora = Lora()
