"""Import of models of the Hub: as many as are named, several at once, each by itself.

One request per model tells its commit, files and card. Models whose commit the catalogue
has are left out; of the others only headers and the wanted tensors are downloaded. The
order is that of the sources, except that base models come before what was made from them.

Memory: downloads hold `IN_FLIGHT` bytes, or one network that is larger, in addition to the
weights that wait for their shard and at most `MODELS` headers.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from catalog.errors import CatalogError
from catalog.formats.format import Network
from catalog.hub.address import ModelAddress, model_addresses
from catalog.hub.budget import ByteBudget
from catalog.hub.card import UNKNOWN
from catalog.hub.choice import chosen_file
from catalog.hub.client import HubClient, Model
from catalog.hub.network import RemoteNetwork
from catalog.importing.axes import AxesRule
from catalog.importing.cells import CellColumns
from catalog.importing.grouping import grouped
from catalog.importing.known_models import KnownModels
from catalog.importing.model_trees import Bases, bases_first, roots
from catalog.importing.networks import ImportSummary, check_names, import_networks
from catalog.schema import HUB_CHECKPOINTS, HUB_RUNS

MODELS = 8
"""Models that are read at once."""

IN_FLIGHT = 512 << 20
"""Bytes of tensors that downloads hold at once, unless one network is larger."""

_Read = tuple[Network | CatalogError, int]
"""A network with the bytes that it holds, or the reason why there is none."""

_TYPES = {column.name: column.type for column in (*HUB_RUNS, *HUB_CHECKPOINTS)}


@dataclass(frozen=True)
class _Wanted:
    """A model that is to be read."""

    address: ModelAddress
    model: Model
    file: str


def import_models(
    root: str | Path,
    sources: Sequence[str | Path],
    *,
    tensors: Sequence[str] = (),
    zoo: str = "hub",
    license: str | None = None,
    run: str | None = None,
    rename: Mapping[str, str] | None = None,
    percent: Collection[str] = (),
    cells: CellColumns | None = None,
    one_layout: bool = False,
    allow_nonfinite: bool = False,
    axes: AxesRule = "certain",
    progress: Callable[[int], None] | None = None,
) -> ImportSummary:
    """Import models of the Hub; the parameters are those of `import_source`.

    A model that cannot be imported does not keep the others from it.

    Returns
    -------
    ImportSummary
        Numbers of models, with the reasons for those that failed.

    Raises
    ------
    CatalogError
        If a source is no address of a model, or no list of addresses.
    """
    addresses = model_addresses(sources)
    check_names(zoo, license)
    failed: dict[str, str] = {}

    def refuse(name: str, error: CatalogError) -> None:
        failed[name] = str(error)

    client = HubClient()
    known = KnownModels.of(Path(root))
    described = _described(client, addresses, refuse)
    patterns = json.dumps(sorted(set(tensors))) if tensors else None
    bases: dict[str, Sequence[str]] = {
        name: _names(rows[0].base_model) for name, rows in known.models.items()
    }
    bases |= {model.repository: model.bases for model in described.values()}
    wanted, skipped = [], 0
    for address in bases_first(list(described), bases):
        model = described[address]
        try:
            file = chosen_file(address, model.files)
            if known.has(zoo, address.name, model.repository, file, model.commit, patterns):
                skipped += 1
            else:
                wanted.append(_Wanted(address, model, file))
        except CatalogError as error:
            refuse(address.name, error)
    with closing(_networks(client, wanted, tensors, patterns, refuse)) as reading:
        networks = reading if run is None else grouped(reading, run)
        summary = import_networks(
            root,
            _linked(networks, zoo, bases, known, failed),
            zoo=zoo,
            source_name="The list of models",
            format_name="hub",
            license=license,
            rename=rename,
            percent=percent,
            cells=cells,
            one_layout=one_layout,
            allow_nonfinite=allow_nonfinite,
            axes=axes,
            progress=progress,
            refused=refuse,
            types=_TYPES,
        )
    return replace(
        summary,
        networks=summary.networks + skipped,
        known=summary.known + skipped,
        failed=failed,
    )


def _described(
    client: HubClient,
    addresses: Sequence[ModelAddress],
    refuse: Callable[[str, CatalogError], None],
) -> dict[ModelAddress, Model]:
    """Ask about all models, once per revision; return the answers by address."""
    revisions = list(dict.fromkeys(address._replace(file="") for address in addresses))

    def describe(address: ModelAddress) -> Model | CatalogError:
        try:
            return client.describe(address)
        except CatalogError as error:
            return error

    with ThreadPoolExecutor(MODELS, "phasezoo-hub") as pool:
        try:
            answers = dict(zip(revisions, pool.map(describe, revisions), strict=True))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    described = {}
    for address in addresses:
        answer = answers[address._replace(file="")]
        if isinstance(answer, CatalogError):
            refuse(address.name, answer)
        else:
            described[address] = answer
    return described


def _networks(
    client: HubClient,
    wanted: Sequence[_Wanted],
    tensors: Sequence[str],
    patterns: str | None,
    refuse: Callable[[str, CatalogError], None],
) -> Generator[Network]:
    """Yield the models that can be read, in order; later ones are read meanwhile."""
    budget = ByteBudget(IN_FLIGHT)

    def read(job: int) -> _Read:
        address, model = wanted[job].address, wanted[job].model
        try:
            store = client.files(model)
            remote = RemoteNetwork(str(address), store, wanted[job].file, tensors)
            budget.take(job, remote.bytes)
            network = _network(wanted[job], remote, patterns, budget)
        except CatalogError as error:
            budget.end_turn(job)
            return error, 0
        return network, remote.bytes

    with ThreadPoolExecutor(MODELS, "phasezoo-hub") as pool:
        waiting: deque[tuple[_Wanted, Future[_Read]]] = deque()
        try:
            for job, one in enumerate(wanted):
                waiting.append((one, pool.submit(read, job)))
                if len(waiting) == MODELS:
                    yield from _result(waiting, budget, refuse)
            while waiting:
                yield from _result(waiting, budget, refuse)
        finally:
            budget.stop()
            pool.shutdown(wait=True, cancel_futures=True)


def _result(
    waiting: deque[tuple[_Wanted, Future[_Read]]],
    budget: ByteBudget,
    refuse: Callable[[str, CatalogError], None],
) -> Iterator[Network]:
    """Yield the first model that is waited for, and give back its bytes after use."""
    wanted, future = waiting.popleft()
    result, count = future.result()
    del future  # it holds the result
    if isinstance(result, CatalogError):
        refuse(wanted.address.name, result)
        return
    yield result
    del result
    budget.give_back(count)


def _network(
    wanted: _Wanted, remote: RemoteNetwork, patterns: str | None, budget: ByteBudget
) -> Network:
    """Read the tensors of a model, and add its columns."""
    model = wanted.model
    tensors = remote.read(lambda count: budget.check_running())
    origin = {
        "hub_model": model.repository,
        "hub_file": wanted.file,
        "hub_tensors": patterns,
    }
    return Network(
        wanted.address.name,
        tensors,
        model.run | remote.columns | origin,
        model.checkpoint | {"hub_commit": model.commit},
    )


def _linked(
    networks: Iterator[Network],
    zoo: str,
    bases: Bases,
    known: KnownModels,
    failed: Mapping[str, str],
) -> Iterator[Network]:
    """Yield networks with their parents: those before them, or those of the catalogue."""
    places: dict[str, tuple[str, int]] = {}
    for network in networks:
        name = str(network.run["hub_model"])
        role = str(network.run["base_model_relation"] or UNKNOWN)
        parents, known_parents = [], []
        for base in bases.get(name, ()):
            if base == name:
                continue
            if base in places:
                parents.append((*places[base], role))
            elif stored := known.base(zoo, base):
                known_parents.append((stored.run_id, stored.step, role))
        linked = replace(
            network,
            parents=tuple(parents),
            known_parents=tuple(known_parents),
            split_keys=tuple(f"hf://{root}" for root in roots(name, bases)),
        )
        place = name, (network.run_name, network.step)
        name = network.name
        del network
        yield linked
        del linked
        if name not in failed:
            places.setdefault(*place)


def _names(listed: str | None) -> list[str]:
    """Return the names in a column ``base_model``."""
    return listed.split(", ") if listed else []
