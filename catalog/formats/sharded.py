"""Networks split over several safetensors files, with the index that names the parts."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import CatalogError
from catalog.formats.format import Tensor
from catalog.formats.json_columns import read_settings
from catalog.formats.safetensors_file import read_header, read_tensors
from catalog.formats.source import files_of, network_name
from catalog.storage.inside_folder import check_beside

INDEX = ".safetensors.index.json"
"""Ending of the names of index files."""
_PART = re.compile(r".*-[0-9]{5}-of-[0-9]{5}", re.DOTALL)


@dataclass(frozen=True)
class NetworkFiles:
    """The files of one network.

    Attributes
    ----------
    paths : list of Path
        A single file, or the parts that an index names.
    weight_map : dict of str to str, optional
        File name by tensor, in the order of the index.
    index : Path, optional
        File that holds the index.
    """

    paths: list[Path]
    weight_map: dict[str, str] | None = None
    index: Path | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Read all tensors, in the order of the index or, without one, of the file's bytes.

        Raises
        ------
        CatalogError
            If a file is damaged, or its tensors differ from the index.
        """
        if self.weight_map is None:
            return read_tensors(self.paths[0])
        tensors_by_name: dict[str, Tensor] = {}
        for path in self.paths:
            header = read_header(path)
            expected = {name for name, file in self.weight_map.items() if file == path.name}
            check_part(path, header.shapes.keys(), expected, self.index)
            tensors_by_name |= read_tensors(path, header)
        return {name: tensors_by_name[name] for name in self.weight_map}


def files_by_network(source: Path) -> dict[str, NetworkFiles]:
    """Return the files of each network in a source by name, in order of path.

    Raises
    ------
    CatalogError
        If an index is damaged or names a missing file, if a part has no index, or if two
        networks have the same name.
    """
    files = files_of(source, ".safetensors")
    json_files = [] if source.is_file() else files_of(source, ".json")
    indexes = [path for path in json_files if path.name.endswith(INDEX)]
    sharded = [_sharded(source, path) for path in indexes]
    parts = {path for network in sharded for path in network.paths}
    _check_whole([path for path in files if path not in parts])
    networks: dict[str, NetworkFiles] = {}
    single_files = [NetworkFiles([path]) for path in files if path not in parts]
    for network in [*single_files, *sharded]:
        name = network_name(source, _stem(network))
        if name in networks:
            raise CatalogError(
                f"{networks[name].paths[0]} and {network.index} are both the network "
                f"{name!r}. Move one of them out of {source}."
            )
        networks[name] = network
    return dict(sorted(networks.items()))


def check_part(
    where: object, names: Collection[str], expected: Collection[str], index: object
) -> None:
    """Check that a part holds exactly the tensors that an index assigns to it.

    Parameters
    ----------
    where, index : object
        Names of both files in errors.
    names, expected : collection of str
        Tensors that the part holds, and that the index assigns to it.

    Raises
    ------
    CatalogError
        If they differ; the error names a tensor.
    """
    if missing := sorted(set(expected) - set(names)):
        raise CatalogError(
            f"{where} has no tensor {missing[0]!r}, which {index} assigns to it. Fetch "
            "both files again."
        )
    if extra := sorted(set(names) - set(expected)):
        raise CatalogError(
            f"{where} holds the tensor {extra[0]!r}, which {index} does not assign to it. "
            "Fetch both files again."
        )


def checked_weight_map(settings: Mapping[str, Any], index: object) -> dict[str, str]:
    """Return the file of each tensor, by the settings that an index holds.

    Parameters
    ----------
    settings : mapping of str to Any
        Content of the index.
    index : object
        Name of the index in errors.

    Raises
    ------
    CatalogError
        If there is no such map, or a file is not one beside the index.
    """
    weight_map = settings.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CatalogError(
            f'{index} has no "weight_map" that names the files of the tensors.'
        )
    for tensor, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise CatalogError(
                f"{index}: {tensor!r} is in {file!r}; expected the name of a file beside "
                "the index."
            )
    return weight_map


def is_part(path: Path) -> bool:
    """Return True if a file is named like one of several parts of a network."""
    return _PART.fullmatch(path.stem) is not None


def _check_whole(files: Sequence[Path]) -> None:
    for path in files:
        if is_part(path):
            base = path.stem[: -len("-00001-of-00002")]
            raise CatalogError(
                f"{path} is called like a part of a network, but no index names it. "
                f"Import the folder that holds {base}{INDEX} and all parts."
            )


def _stem(network: NetworkFiles) -> Path:
    path = network.index or network.paths[0]
    return path.with_name(path.name.removesuffix(".index.json"))


def _sharded(source: Path, index: Path) -> NetworkFiles:
    check_beside(source, index)
    weight_map = checked_weight_map(read_settings(index), index)
    paths = []
    for file in dict.fromkeys(weight_map.values()):
        path = index.with_name(file)
        check_beside(source, path)
        if not path.is_file():
            raise CatalogError(
                f"{index} names {file!r}, which is not beside it. Fetch the file; a "
                "network can only be imported as a whole."
            )
        paths.append(path)
    return NetworkFiles(paths, weight_map, index)
