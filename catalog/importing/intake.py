"""Intake of foreign networks: checking, naming and assignment to batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from catalog.errors import CatalogError, LayoutMismatch
from catalog.formats.columns import Columns, Row
from catalog.formats.format import Network, Tensor
from catalog.importing.cells import CellColumns
from catalog.importing.foreign_layout import digest, layout_difference, layout_of, nonfinite
from catalog.importing.known import Known
from catalog.importing.lineage import Lineage, combined
from catalog.importing.parts import ImportedNetwork, ImportedShards, WaitingNetworks
from catalog.layout import Layout
from catalog.names import canonical_json, content_id, is_unicode
from catalog.storage.manifest import Manifest


class Intake:
    """Checks of all networks of an import, which turn each network into a batch entry.

    Attributes
    ----------
    networks, weights, skipped : int
        Numbers of networks that were taken, that have weights, and that were known.
    runs : dict
        Identity, columns and batch of each run by name.
    """

    def __init__(
        self,
        zoo: str,
        license: str | None,
        columns: Columns,
        cells: CellColumns | None,
        allow_nonfinite: bool,
    ) -> None:
        self.zoo, self.license, self.columns, self.cells = zoo, license, columns, cells
        self.allow_nonfinite = allow_nonfinite
        self.known = Known()
        self.networks = self.weights = self.skipped = 0
        self.batches: dict[tuple[str, str], tuple[WaitingNetworks, str]] = {}
        self._layouts: dict[tuple[Any, ...], Layout] = {}
        self.lineage = Lineage()
        self.runs: dict[str, tuple[str, Row, WaitingNetworks]] = {}
        self.seen: dict[tuple[str, int], str] = {}

    def take(self, network: Network) -> tuple[WaitingNetworks, ImportedNetwork | None]:
        """Check a network; return its batch and its entry, or None for a known network.

        A network that is refused does not count, and the intake can go on without it.
        """
        if not is_unicode(network.run_name):
            raise CatalogError(
                f"{network.name}: the name {network.run_name!r} is not valid Unicode. "
                "Rename the file, or the entry that names the network."
            )
        if not -(1 << 63) <= network.step < 1 << 63:
            raise CatalogError(
                f"{network.name} is step {network.step} of run {network.run_name!r}; steps "
                "are integers of 64 bits. Rename the file or folder that the step comes "
                "from."
            )
        place = (network.run_name, network.step)
        if place in self.seen:
            first_name = self.seen[place]
            raise CatalogError(
                f"{first_name} and {network.name} are both step {network.step} of run "
                f"{network.run_name!r}; every checkpoint of a run needs a different step."
            )
        self.seen[place] = network.name
        tensors = network.tensors
        if tensors is not None and not tensors:
            raise CatalogError(f"{network.name} has no tensors.")
        layout = None if tensors is None else self._layout(network.name, tensors)
        digests = {n: digest(t) for n, t in (tensors or {}).items()}
        finite = None if layout is None else self._finite(network, layout)
        run, checkpoint = self.columns.of(network)
        if self.cells is not None:
            self.cells.fill(run, network.name)
        if self.license is not None and run.setdefault("license", self.license) != (
            self.license
        ):
            raise CatalogError(
                f"{network.name} has the licence {run['license']!r}, but --license is "
                f"{self.license!r}. Drop --license."
            )
        content = combined(digests) if digests else None
        batch = self._batch(network, layout)
        run_id = self._run(network, run, batch, content)
        self.lineage.add(network, run_id, digests)
        checkpoint |= {"content": content, "finite": finite}
        known = self.known.has(network.name, run_id, network.step, run | checkpoint)
        self.networks += 1
        self.weights += layout is not None
        if known:
            self.skipped += 1
            return batch, None
        arrays = {name: tensor.values for name, tensor in (tensors or {}).items()}
        entry = ImportedNetwork(run_id, network.run_name, network.step, checkpoint, arrays)
        return batch, entry

    def check_one_layout(self, network: Network, batch: WaitingNetworks) -> None:
        """Raise LayoutMismatch if the networks so far have more than one layout."""
        first, name = next(iter(self.batches.values()))
        if first is not batch:
            difference = layout_difference(first.layout, batch.layout)
            raise LayoutMismatch(
                f"{network.name} differs from {name}: {difference}. To keep both "
                "layouts, import without --one-layout."
            )

    @property
    def layouts(self) -> int:
        """Number of different layouts and architectures so far."""
        return sum(batch.layout is not None for batch, _ in self.batches.values())

    def finish(
        self, parts: ImportedShards, types: Mapping[str, pa.DataType]
    ) -> list[Manifest]:
        """Publish the staged shards and return their manifests.

        Parameters
        ----------
        parts : ImportedShards
            The staged shards.
        types : mapping of str to pyarrow.DataType
            Types of columns that exist even if no network has a value.
        """
        types = {**types, **self.columns.finish()}
        parents = self.lineage.parents()
        splits = self.lineage.splits(self.zoo, parents)
        runs: dict[str, dict[str, Any]] = {}
        for name, (run_id, row, batch) in self.runs.items():
            identity = {"run_id": run_id, "zoo": self.zoo, "source": "imported"}
            layout = batch.layout
            runs[name] = (
                row | identity | splits.get(name, {}) | {"parents": parents.get(name)}
            )
            runs[name]["parameters"] = row.get("parameters") if layout is None else layout.d
        return parts.publish(runs, types)

    def _layout(self, where: str, tensors: Mapping[str, Tensor]) -> Layout:
        key = tuple(
            (name, t.dtype, t.values.dtype, t.values.shape, t.role, t.axes)
            for name, t in tensors.items()
        )
        if key not in self._layouts:
            self._layouts[key] = layout_of(where, tensors)
        return self._layouts[key]

    def _batch(self, network: Network, layout: Layout | None) -> WaitingNetworks:
        published_architecture = network.architecture
        architecture = (
            canonical_json(dict(published_architecture)) if published_architecture else ""
        )
        key = (layout.id if layout else "", architecture)
        new_batch = (WaitingNetworks(layout, architecture), network.name)
        return self.batches.setdefault(key, new_batch)[0]

    def _run(
        self, network: Network, run: Row, batch: WaitingNetworks, content: str | None
    ) -> str:
        """Return the run_id; check that columns agree with other checkpoints of the run."""
        name = network.run_name
        if name not in self.runs:
            config = canonical_json({"zoo": self.zoo, "run": name, "tensors": content})
            new_identity = content_id(["imported", config]), config
            run_id, config = self.known.run(name) or new_identity
            row: Row = {"source_name": name, "config": config}
            if network.architecture:
                row["architecture"] = batch.architecture
                run.setdefault("architecture_name", str(network.architecture.get("name")))
            self.runs[name] = (run_id, {**run, **row}, batch)
            return run_id
        run_id, first_columns, first_batch = self.runs[name]
        if first_batch is not batch:
            raise LayoutMismatch(
                f"{network.name}: the checkpoints of run {name!r} differ: "
                f"{layout_difference(first_batch.layout, batch.layout)}. A run must have "
                "one layout."
            )
        for column in run.keys() | first_columns.keys() - {"source_name", "config"}:
            value, first_value = run.get(column), first_columns.get(column)
            if column in ("architecture", "architecture_name") and network.architecture:
                continue
            both_nan = value != value and first_value != first_value
            if value != first_value and not both_nan:
                raise CatalogError(
                    f"{network.name}: column {column!r} is {value!r}, but {first_value!r} "
                    f"at another step of run {name!r}; columns of a run must not change."
                )
        return run_id

    def _finite(self, network: Network, layout: Layout) -> bool:
        for param in layout:
            tensor = (network.tensors or {})[param.name]
            if param.in_vector and (bad := nonfinite(tensor)):
                if not self.allow_nonfinite:
                    raise CatalogError(
                        f"Network {network.name}: {bad} of {param.size} values of "
                        f"{param.name!r} are NaN or infinite. To import such networks, "
                        "with false in the column finite: --allow-nonfinite"
                    )
                return False
        return True
