"""State dicts written by `torch.save`: one file, or a folder of them at any depth.

A file holds a state dict, or a dict with one under ``state_dict``, ``model_state_dict``,
``model``, ``net``, ``params``, ``model_state`` or ``weights``; scalars beside it become
columns of the checkpoint. What trainers save beside, such as ``optimizer.pt``, is skipped.
A csv may add columns, keyed by ``path`` below the source; it wins over the file, and its
``run_name`` and ``step`` group files into runs. Where neither says them, a name that
counts does, as ``run/epoch_5.pt``; any other file is a run of its own.
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
# What trainers put beside a network: their own state.
_BESIDE = re.compile("optimizer|scheduler|scaler|training_args|rng_state.*")
_MAGIC = (b"PK\x03\x04", b"\x80\x02\x8a\x0a")  # of torch.save, and before 1.6
_STEPS = ("step", "global_step")


class StateDict:
    """Reader of `torch.save` files."""

    name = "state_dict"
    summary = ".pt, .pth, .th, .ckpt or .bin files of torch.save, in any folders"
    takes_table = True

    def recognises(self, source: Path) -> bool:
        """Whether it is such a file, or a folder with one that Ray did not write."""
        return bool(_files(source)) and not any(source.rglob("result.json"))

    def read(self, source: Path, metadata: Path | None = None) -> Iterator[Network]:
        """Yield the files in order of their paths.

        Raises
        ------
        CatalogError
            If a file is not a state dict, or file and csv do not match.
        """
        files = [source] if source.is_file() else _files(source)
        if not files:
            raise CatalogError(f"{source} has no file that ends in {', '.join(SUFFIXES)}.")
        if parts := [path for path in files if is_part(path)]:
            raise CatalogError(
                f"{parts[0]} is called like a part of a network; only safetensors are "
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
    files = files_of(source, *SUFFIXES)
    if source.is_file():
        return files
    return [p for p in files if not _BESIDE.fullmatch(p.stem) and _is_weights(p)]


def _is_weights(path: Path) -> bool:
    """Whether a file may be of `torch.save`: `.bin` is what anything is called."""
    if path.suffix.lower() != ".bin" or path.name.startswith("pytorch_model"):
        return True
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def _network(
    name: str, file: TorchFile, row: Row, place: Row, later: Collection[str]
) -> Network:
    columns, inside = dict(row), dict(file.scalars)
    run_name, step = columns.pop("run_name", None), columns.pop("step", None)
    if run_name is None:
        run_name = inside.pop("run_name", None)
    if step is None:
        step = _counted(columns, inside)
    left = {key: value for key, value in inside.items() if key not in row}
    own = {**published(left), **file.notes}
    columns |= {"run_name": run_name, "step": step}
    return network(name, file.tensors, placed({**own, **columns}, place), {*own, *later})


def _counted(*rows: Row) -> Scalar:
    """The first whole number of steps, taken out of its row."""
    for key in _STEPS:
        for row in rows:
            if type(row.get(key)) is int:
                return row.pop(key)
    return None


state_dict = StateDict()
