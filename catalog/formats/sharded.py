"""Networks in several safetensors files: parts, and the index that names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import CatalogError
from catalog.formats.format import Tensor
from catalog.formats.json_columns import read_settings
from catalog.formats.safetensors_file import read_header, read_tensors
from catalog.formats.source import files_of, network_name
from catalog.storage.inside_folder import check_beside

_INDEX = ".safetensors.index.json"
_PART = re.compile(r".*-[0-9]{5}-of-[0-9]{5}", re.DOTALL)


@dataclass(frozen=True)
class NetworkFiles:
    """The files of one network.

    Attributes
    ----------
    paths : list of Path
        One, or those that an index names.
    weight_map : dict of str to str, optional
        File name by tensor, in the index's order.
    index : Path, optional
        Where that stands.
    """

    paths: list[Path]
    weight_map: dict[str, str] | None = None
    index: Path | None = None

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, in the order of the index or else of the file's bytes.

        Raises
        ------
        CatalogError
            If a file is damaged, or holds other tensors than the index says.
        """
        if self.weight_map is None:
            return read_tensors(self.paths[0])
        found: dict[str, Tensor] = {}
        for path in self.paths:
            header = read_header(path)
            said = {name for name, file in self.weight_map.items() if file == path.name}
            if missing := sorted(said - header.shapes.keys()):
                raise CatalogError(
                    f"{path} has no tensor {missing[0]!r}, which {self.index} says it "
                    "holds. Fetch both again."
                )
            if extra := sorted(header.shapes.keys() - said):
                raise CatalogError(
                    f"{path} holds the tensor {extra[0]!r}, which {self.index} does not "
                    "expect there. Fetch both again."
                )
            found |= read_tensors(path, header)
        return {name: found[name] for name in self.weight_map}


def files_by_network(source: Path) -> dict[str, NetworkFiles]:
    """Files of each network in a source, by its name, in order of path.

    Raises
    ------
    CatalogError
        If an index is damaged or names a file that is not there, if a part has no
        index, or if two networks have one name.
    """
    files = files_of(source, ".safetensors")
    given = [] if source.is_file() else files_of(source, ".json")
    indexes = [path for path in given if path.name.endswith(_INDEX)]
    sharded = [_sharded(source, path) for path in indexes]
    parts = {path for network in sharded for path in network.paths}
    _check_whole([path for path in files if path not in parts])
    found: dict[str, NetworkFiles] = {}
    alone = [NetworkFiles([path]) for path in files if path not in parts]
    for network in [*alone, *sharded]:
        name = network_name(source, _stem(network))
        if name in found:
            raise CatalogError(
                f"{found[name].paths[0]} and {network.index} are both the network "
                f"{name!r}. Move one of them out of {source}."
            )
        found[name] = network
    return dict(sorted(found.items()))


def is_part(path: Path) -> bool:
    """Whether a file is called like one of several of a network."""
    return _PART.fullmatch(path.stem) is not None


def _check_whole(files: Sequence[Path]) -> None:
    for path in files:
        if is_part(path):
            base = path.stem[: -len("-00001-of-00002")]
            raise CatalogError(
                f"{path} is called like a part of a network, and no index names it. "
                f"Import the folder that holds {base}{_INDEX} and every part of it."
            )


def _stem(network: NetworkFiles) -> Path:
    path = network.index or network.paths[0]
    return path.with_name(path.name.removesuffix(".index.json"))


def _sharded(source: Path, index: Path) -> NetworkFiles:
    check_beside(source, index)
    weight_map = read_settings(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CatalogError(f'{index} has no "weight_map" that names the file of a tensor.')
    paths = []
    for tensor, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise CatalogError(
                f"{index}: {tensor!r} is in {file!r}; expected the name of a file beside "
                "the index."
            )
        if (path := index.with_name(file)) in paths:
            continue
        check_beside(source, path)
        if not path.is_file():
            raise CatalogError(
                f"{index} names {file!r}, which is not beside it. Fetch it; a network is "
                "imported whole."
            )
        paths.append(path)
    return NetworkFiles(paths, weight_map, index)
