"""What happens to each foreign network: checked, named, and handed to its batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    """Checks every network and turns it into an entry of a batch.

    Attributes
    ----------
    networks, weights, skipped : int
        How many came, have weights, and were known.
    runs : dict
        Identity, columns and batch of each run by its name.
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
        """The batch of a network; its entry, or None if it is known."""
        self.networks += 1
        if not is_unicode(network.run_name):
            raise CatalogError(
                f"{network.name}: the name {network.run_name!r} is no Unicode text. Rename "
                "the file, or the entry that names the network."
            )
        if not -(1 << 63) <= network.step < 1 << 63:
            raise CatalogError(
                f"{network.name} is step {network.step} of run {network.run_name!r}; steps "
                "are integers of 64 bits. Rename the file or folder that says it."
            )
        before = self.seen.setdefault((network.run_name, network.step), network.name)
        if before != network.name or len(self.seen) < self.networks:
            raise CatalogError(
                f"{before} and {network.name} are both step {network.step} of run "
                f"{network.run_name!r}; names and steps must tell networks apart."
            )
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
                f"{network.name} has the licence {run['license']!r}; --license says "
                f"{self.license!r}. Drop --license."
            )
        content = combined(digests) if digests else None
        batch = self._batch(network, layout)
        run_id = self._run(network, run, batch, content)
        self.lineage.add(network, run_id, digests)
        checkpoint |= {"content": content, "finite": finite}
        self.weights += layout is not None
        if self.known.has(network.name, run_id, network.step, run | checkpoint):
            self.skipped += 1
            return batch, None
        arrays = {name: tensor.values for name, tensor in (tensors or {}).items()}
        entry = ImportedNetwork(run_id, network.run_name, network.step, checkpoint, arrays)
        return batch, entry

    def check_one_layout(self, network: Network, batch: WaitingNetworks) -> None:
        """Raise if the networks so far have more than one layout."""
        first, name = next(iter(self.batches.values()))
        if first is not batch:
            told = layout_difference(first.layout, batch.layout)
            raise LayoutMismatch(
                f"{network.name} differs from {name}: {told}. Import without "
                "--one-layout to keep both."
            )

    @property
    def layouts(self) -> int:
        """Different layouts and architectures so far."""
        return sum(batch.layout is not None for batch, _ in self.batches.values())

    def finish(self, parts: ImportedShards) -> list[Manifest]:
        """Publish what was staged."""
        types = self.columns.finish()
        parents = self.lineage.parents()
        splits = self.lineage.splits(self.zoo, parents)
        runs: dict[str, dict[str, Any]] = {}
        for name, (run_id, row, batch) in self.runs.items():
            own = {"run_id": run_id, "zoo": self.zoo, "source": "imported"}
            layout = batch.layout
            runs[name] = row | own | splits.get(name, {}) | {"parents": parents.get(name)}
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
        known = network.architecture
        architecture = canonical_json(dict(known)) if known else ""
        key = (layout.id if layout else "", architecture)
        new = (WaitingNetworks(layout, architecture), network.name)
        return self.batches.setdefault(key, new)[0]

    def _run(
        self, network: Network, run: Row, batch: WaitingNetworks, content: str | None
    ) -> str:
        """Identity of the run; its columns must be those of its other checkpoints."""
        name = network.run_name
        if name not in self.runs:
            config = canonical_json({"zoo": self.zoo, "run": name, "tensors": content})
            new = content_id(["imported", config]), config
            run_id, config = self.known.run(name) or new
            row: Row = {"source_name": name, "config": config}
            if network.architecture:
                row["architecture"] = batch.architecture
                run.setdefault("architecture_name", str(network.architecture.get("name")))
            self.runs[name] = (run_id, {**run, **row}, batch)
            return run_id
        run_id, known, other = self.runs[name]
        if other is not batch:
            raise LayoutMismatch(
                f"{network.name}: the checkpoints of run {name!r} differ: "
                f"{layout_difference(other.layout, batch.layout)}. A run has one layout."
            )
        for column in run.keys() | known.keys() - {"source_name", "config"}:
            own, theirs = run.get(column), known.get(column)
            if column in ("architecture", "architecture_name") and network.architecture:
                continue
            if own != theirs and not (own != own and theirs != theirs):  # NaN is NaN
                raise CatalogError(
                    f"{network.name}: column {column!r} is {own!r}, but {theirs!r} at "
                    f"another step of run {name!r}; a run's columns do not change."
                )
        return run_id

    def _finite(self, network: Network, layout: Layout) -> bool:
        for param in layout:
            tensor = (network.tensors or {})[param.name]
            if param.in_vector and (bad := nonfinite(tensor)):
                if not self.allow_nonfinite:
                    raise CatalogError(
                        f"{network.name}: {bad} of {param.size} values of {param.name!r} "
                        "are NaN or infinite. To import such networks, flagged finite = "
                        "false: --allow-nonfinite"
                    )
                return False
        return True
