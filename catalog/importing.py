"""Foreign networks become shards: grouped, typed, checked, and committed all or none.

Networks stream through: what is in memory is one shard's weights and the metadata.
Weights are staged on disk as they come; no manifest exists before the last network was
found right, and on an error the staged files are deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from catalog.axes import infer_axes
from catalog.columns import Columns, Row
from catalog.dtypes import DTYPES, Array
from catalog.errors import CatalogError, LayoutMismatch
from catalog.foreign import Network, Tensor
from catalog.formats import find_format
from catalog.known import Known
from catalog.layout import Layout, Param
from catalog.lineage import Lineage, combined
from catalog.names import canonical_json, content_id
from catalog.parts import Batch, Entry, Parts

SHARD_BYTES = 256 << 20
"""Weights that wait in memory: a shard is staged when there are more."""

_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*")


@dataclass(frozen=True)
class ImportSummary:
    """What an import did.

    Attributes
    ----------
    zoo, format : str
        Name of the zoo, and of the format that read the source.
    networks : int
        Checkpoints in the source.
    imported, known : int
        How many of them are new, and how many were in the catalogue already.
    runs : int
        Runs of the source.
    layouts : int
        Different layouts and architectures in the source.
    weights : int
        Networks of the source that have weights; the others are rows of metrics.
    shards : list of str
        What was committed.
    bytes : int
        Weights committed, in bytes.
    """

    zoo: str
    format: str
    networks: int = 0
    imported: int = 0
    known: int = 0
    runs: int = 0
    layouts: int = 0
    weights: int = 0
    shards: list[str] = field(default_factory=list)
    bytes: int = 0


def import_source(
    root: str | Path,
    source: str | Path,
    *,
    format: str = "auto",
    zoo: str | None = None,
    license: str | None = None,
    metadata: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
    percent: Collection[str] = (),
    one_layout: bool = False,
    allow_nonfinite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import the networks that a file or folder holds; again is a no-op.

    Parameters
    ----------
    root : str or Path
        The catalogue's folder; made if absent.
    source : str or Path
        What somebody published.
    format : str, default="auto"
        Name of a format, or "auto" to ask each whether it recognises the source.
    zoo : str, optional
        Name of the zoo; default: of the file or folder. Part of every ``run_id``.
    license : str, optional
        SPDX expression, such as "CC-BY-4.0".
    metadata : str or Path, optional
        A csv with one row per network; default: one that stands beside the source.
    rename : mapping of str to str, optional
        New names of columns by the published ones.
    percent : collection of str, optional
        Columns, by their new names, to divide by 100.
    one_layout : bool, default=False
        Refuse a source whose networks differ in names, shapes, dtypes or order.
    allow_nonfinite : bool, default=False
        Import networks with NaN or infinite weights, as ``finite = false``.
    progress : callable, optional
        Called with the number of networks read so far.

    Returns
    -------
    ImportSummary

    Raises
    ------
    CatalogError
        If anything is wrong with any network, row or file. The catalogue is then as
        it was before.
    """
    path = Path(source)
    reader = find_format(format, path)
    beside = None if metadata is None else Path(metadata)
    if beside is not None and not beside.is_file():
        raise CatalogError(f"There is no table {beside}; --metadata names a csv file.")
    if license is not None and not _SPDX.fullmatch(license):
        raise CatalogError(
            f"The licence must be an SPDX expression such as MIT or CC-BY-4.0. Got "
            f"{license!r}."
        )
    name = zoo or _zoo_name(path)
    if not name.strip() or not name.isprintable():
        raise CatalogError(f"{name!r} is no name for a zoo; give one: --zoo NAME")
    return import_networks(
        root,
        _read(reader.read(path, beside), path),
        zoo=name,
        source_name=str(path),
        format_name=reader.name,
        license=license,
        rename=rename,
        percent=percent,
        one_layout=one_layout,
        allow_nonfinite=allow_nonfinite,
        progress=progress,
    )


def import_networks(
    root: str | Path,
    networks: Iterable[Network],
    *,
    zoo: str,
    source_name: str,
    format_name: str = "memory",
    license: str | None = None,
    rename: Mapping[str, str] | None = None,
    percent: Collection[str] = (),
    one_layout: bool = False,
    allow_nonfinite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import networks that stand in memory or come one by one; see `import_source`."""
    intake = _Intake(zoo, license, Columns(rename or {}, percent), allow_nonfinite)
    with Parts(Path(root), zoo) as parts:
        intake.known = parts.known
        for count, network in enumerate(networks, 1):
            batch, entry = intake.take(network)
            if one_layout:
                intake.check_one_layout(network, batch)
            if entry is not None:
                parts.add(batch, entry, SHARD_BYTES)
            if progress is not None:
                progress(count)
        if not intake.networks:
            raise CatalogError(f"{source_name} holds no networks.")
        return intake.finish(parts, format_name)


def _read(networks: Iterator[Network], source: Path) -> Iterator[Network]:
    try:
        yield from networks
    except OSError as error:
        if isinstance(error, CatalogError):
            raise
        raise CatalogError(f"{source} cannot be read: {error}") from error


def _zoo_name(source: Path) -> str:
    path = source.resolve()
    return path.name if path.is_dir() else path.name.split(".")[0] or path.name


class _Intake:
    """Checks every network and turns it into an entry of a batch."""

    def __init__(
        self, zoo: str, license: str | None, columns: Columns, allow_nonfinite: bool
    ) -> None:
        self.zoo, self.license, self.columns = zoo, license, columns
        self.allow_nonfinite = allow_nonfinite
        self.known = Known()
        self.networks = self.weights = self.skipped = 0
        self.batches: dict[tuple[str, str], tuple[Batch, str]] = {}
        self.lineage = Lineage()
        self.runs: dict[str, tuple[str, Row, Batch]] = {}
        self.seen: dict[tuple[str, int], str] = {}

    def take(self, network: Network) -> tuple[Batch, Entry | None]:
        """The batch of a network; its entry, or None if it is known."""
        self.networks += 1
        before = self.seen.setdefault((network.run_name, network.step), network.name)
        if before != network.name or len(self.seen) < self.networks:
            raise CatalogError(
                f"{before} and {network.name} are both step {network.step} of run "
                f"{network.run_name!r}; names and steps must tell networks apart."
            )
        tensors = network.tensors
        if tensors is not None and not tensors:
            raise CatalogError(f"{network.name} has no tensors.")
        layout = None if tensors is None else layout_of(network.name, tensors)
        digests = {n: _digest(t) for n, t in (tensors or {}).items()}
        finite = None if layout is None else self._finite(network, layout)
        run, checkpoint = self.columns.of(network)
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
        entry = Entry(run_id, network.run_name, network.step, checkpoint, arrays)
        return batch, entry

    def check_one_layout(self, network: Network, batch: Batch) -> None:
        """Raise if the networks so far have more than one layout."""
        first, name = next(iter(self.batches.values()))
        if first is not batch:
            raise LayoutMismatch(
                f"{network.name} differs from {name}: {_difference(first, batch)}. "
                "Import without --one-layout to keep both."
            )

    def finish(self, parts: Parts, format_name: str) -> ImportSummary:
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
        manifests = parts.publish(runs, types)
        return ImportSummary(
            zoo=self.zoo,
            format=format_name,
            networks=self.networks,
            imported=self.networks - self.skipped,
            known=self.skipped,
            runs=len(self.runs),
            layouts=sum(batch.layout is not None for batch, _ in self.batches.values()),
            weights=self.weights,
            shards=[manifest.shard for manifest in manifests],
            bytes=sum(m.files["weights"].bytes for m in manifests if "weights" in m.files),
        )

    def _batch(self, network: Network, layout: Layout | None) -> Batch:
        architecture = canonical_json(dict(network.architecture or {}))
        architecture = architecture if network.architecture else ""
        key = (layout.id if layout else "", architecture)
        new = (Batch(layout, architecture), network.name)
        return self.batches.setdefault(key, new)[0]

    def _run(self, network: Network, run: Row, batch: Batch, content: str | None) -> str:
        """Identity of the run; its columns must be those of its other checkpoints."""
        name = network.run_name
        if name not in self.runs:
            config = canonical_json({"zoo": self.zoo, "run": name, "tensors": content})
            run_id = content_id(["imported", config])
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
                f"{_difference(other, batch)}. A run has one layout."
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
            if param.in_vector and (bad := _nonfinite(tensor)):
                if not self.allow_nonfinite:
                    raise CatalogError(
                        f"{network.name}: {bad} of {param.size} values of {param.name!r} "
                        "are NaN or infinite. To import such networks, flagged finite = "
                        "false: --allow-nonfinite"
                    )
                return False
        return True


def layout_of(where: str, tensors: Mapping[str, Tensor]) -> Layout:
    """Names, shapes, dtypes, roles and axis symbols of a foreign network.

    Raises
    ------
    LayoutMismatch
        If a tensor's values are not of the dtype it names.
    """
    params = []
    for name, tensor in tensors.items():
        kind = DTYPES.get(tensor.dtype)
        if kind is None or tensor.values.dtype != kind.storage:
            raise LayoutMismatch(
                f"{where}: tensor {name!r} is called {tensor.dtype}, but its values are "
                f"{tensor.values.dtype}."
            )
        role = tensor.role or _role(name, tensor.dtype)
        axes = tensor.axes or ()
        params.append(Param(name, tensor.values.shape, axes, tensor.dtype, role))
    if all(tensor.axes is None for tensor in tensors.values()):
        inferred = zip(params, infer_axes(params), strict=True)
        params = [Param(p.name, p.shape, axes, p.dtype, p.role) for p, axes in inferred]
    return Layout(tuple(params))


def _role(name: str, dtype: str) -> str:
    if name.endswith(("running_mean", "running_var")) and DTYPES[dtype].floating:
        return "buffer"
    if DTYPES[dtype].floating:
        return "parameter"
    return "constant" if DTYPES[dtype].storage.kind == "c" else "counter"


def _digest(tensor: Tensor) -> bytes:
    values = np.ascontiguousarray(tensor.values)
    digest = blake3(f"{tensor.dtype} {values.shape}".encode())
    digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.digest()


def _nonfinite(tensor: Tensor) -> int:
    values: Array = tensor.values
    if tensor.dtype == "bfloat16":
        return int(((values & 0x7F80) == 0x7F80).sum())
    return int((~np.isfinite(values)).sum())


def _difference(first: Batch, second: Batch) -> str:
    if first.layout is None or second.layout is None:
        return "one has weights, the other only metrics"
    pairs = [[_told(p) for p in batch.layout or ()] for batch in (first, second)]
    for one, other in zip(*pairs, strict=False):
        if one != other:
            return f"{other}, expected {one}"
    if len(first.layout) != len(second.layout):
        return f"{len(second.layout)} tensors, expected {len(first.layout)}"
    return f"architecture {second.architecture}, expected {first.architecture}"


def _told(param: Param) -> str:
    return f"{param.name!r} {param.shape} {param.dtype} {param.role}"
