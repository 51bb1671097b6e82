"""Reader of .safetensors files, or indexes of several files, with one network each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from catalog.errors import CatalogError
from catalog.formats.format import Network
from catalog.formats.header_table import header_table
from catalog.formats.lora import lora
from catalog.formats.sharded import files_by_network
from catalog.formats.source import files_of, network, rows_beside, varying
from catalog.formats.trajectory import placed, run_and_step_of


class Safetensors:
    """Reader of a file, an index or a folder tree.

    Text in the metadata of the header becomes columns, except ``format``, which names the
    library that wrote the file. Tensors come in the order of the file, since most writers
    do not keep the order of the state dict. A name that ends in a count, such as
    ``epoch_5``, is a step of a run, unless the header or the csv give another step. Parts
    that an index names (``model.safetensors.index.json``) are one network, in the order of
    the index.
    """

    name = "safetensors"
    summary = "one .safetensors per network; columns from its header, or a csv"
    takes_table = True

    def recognises(self, source: Path) -> bool:
        """Return True for safetensors files that are not LoRA adapters."""
        return bool(files_of(source, ".safetensors")) and not lora.recognises(source)

    def read(self, source: Path, metadata: Path | None) -> Iterator[Network]:
        """Yield networks in order of path; see `Format.read`."""
        files = files_by_network(source)
        if not files:
            raise CatalogError(f"{source} holds no .safetensors file.")
        places = {name: run_and_step_of(source, name) for name in files}
        runs = {name: str(place.get("run_name", name)) for name, place in places.items()}
        rows, later = rows_beside(source, metadata, list(files), runs)
        headers = header_table(source, [parts.paths[0] for parts in files.values()])
        for i, (name, parts) in enumerate(files.items()):
            row = headers.row(i)
            if common := row.keys() & rows[name].keys():
                raise CatalogError(
                    f"{parts.paths[0]}: its header and the table beside it both have "
                    f"the columns {sorted(common)}; remove these columns from the table."
                )
            rows[name] = placed(row | rows[name], places[name])
        later |= varying(rows)  # headers may vary too
        for name, parts in files.items():
            yield network(name, parts.tensors(), rows[name], later)


FORMAT = Safetensors()
