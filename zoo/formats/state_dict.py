"""Reader of state dicts written by `torch.save`: one file, or a folder at any depth.

A file holds a state dict, or a dict with a state dict under ``state_dict``,
``model_state_dict``, ``model``, ``net``, ``params``, ``model_state`` or ``weights``;
scalars beside the state dict become columns of the checkpoint. Files that trainers save
beside networks, such as ``optimizer.pt``, are skipped. A CSV file may add columns, keyed by
``path`` below the source; its values take precedence over the state dict's file, and its
``run_name`` and ``step`` group files into runs. If neither has them, they are read from a
file name with a counter, such as ``run/epoch_5.pt``; any other file is a run of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from catalog import CatalogError
from catalog.formats.columns import Row, published
from catalog.formats.format import Network, Scalar
from catalog.formats.sharded import is_part
from catalog.formats.source import bare, files_of, network, rows_beside
from catalog.formats.trajectory import placed, run_and_step_of
from zoo.formats.torch_file import TorchFile, read_torch_file

SUFFIXES = (".pt", ".pth", ".th", ".ckpt", ".bin")
# Names of files with the trainer's own state beside a network.
_BESIDE = re.compile("optimizer|scheduler|scaler|training_args|rng_state.*")
_MAGIC = (b"PK\x03\x04", b"\x80\x02\x8a\x0a")  # torch.save since 1.6, and before
_STEPS = ("step", "global_step")


class StateDict:
    """Reader of `torch.save` files."""

    name = "state_dict"
    summary = ".pt, .pth, .th, .ckpt or .bin files of torch.save, in any folders"
    takes_table = True

    def recognises(self, source: Path) -> bool:
        """Return whether the source is such a file, or a folder of them not from Ray."""
        return bool(_files(source)) and not any(source.rglob("result.json"))

    def read(self, source: Path, metadata: Path | None = None) -> Iterator[Network]:
        """Yield the networks of all files, ordered by path.

        Raises
        ------
        CatalogError
            If there is no file, a file is not a state dict, or the files do not match the
            rows of the CSV file.
        """
        files = [source] if source.is_file() else _files(source)
        if not files:
            raise CatalogError(f"{source} has no file that ends in {', '.join(SUFFIXES)}.")
        if parts := [path for path in files if is_part(path)]:
            raise CatalogError(
                f"{parts[0]} is called like a part of a network, but only safetensors are "
                "read in parts. Load the network and save it in one file."
            )
        root = source.parent if source.is_file() else source
        names = [path.relative_to(root).as_posix() for path in files]
        places = {name: run_and_step_of(source, bare(name)) for name in names}
        runs = {name: str(place.get("run_name", name)) for name, place in places.items()}
        rows, later = rows_beside(source, metadata, names, runs)
        for name, path in zip(names, files, strict=True):
            yield _network(name, read_torch_file(path), rows[name], places[name], later)


def _files(source: Path) -> list[Path]:
    """Return the files of a source that may hold networks."""
    files = files_of(source, *SUFFIXES)
    if source.is_file():
        return files
    return [p for p in files if not _BESIDE.fullmatch(p.stem) and _is_weights(p)]


def _is_weights(path: Path) -> bool:
    """Return whether a file may be from `torch.save`; `.bin` is a suffix of any data."""
    if path.suffix.lower() != ".bin" or path.name.startswith("pytorch_model"):
        return True
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def _network(
    name: str, file: TorchFile, row: Row, place: Row, later: Collection[str]
) -> Network:
    """Return the record of one file with columns from the CSV file, the file, its name."""
    columns, inside = dict(row), dict(file.scalars)
    run_name, step = columns.pop("run_name", None), columns.pop("step", None)
    if run_name is None:
        run_name = inside.pop("run_name", None)
    if step is None:
        step = _popped_step(columns, inside)
    new = {key: value for key, value in inside.items() if key not in row}
    of_file = {**published(new), **file.notes}
    columns |= {"run_name": run_name, "step": step}
    all_columns = placed({**of_file, **columns}, place)
    return network(name, file.tensors, all_columns, {*of_file, *later})


def _popped_step(*rows: Row) -> Scalar:
    """Remove the first whole number of steps from its row and return it."""
    for key in _STEPS:
        for row in rows:
            if type(row.get(key)) is int:
                return row.pop(key)
    return None


state_dict = StateDict()
