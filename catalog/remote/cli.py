"""Verbs about other places: publish, fetch, cite, cache."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from catalog.catalog import open_catalog
from catalog.console.counting import counted
from catalog.console.outlet import note, say
from catalog.console.program import (
    catalog_option,
    json_option,
    print_json,
    print_table,
    verb,
)
from catalog.console.progress import Progress

if TYPE_CHECKING:
    from catalog.remote.fetch import FetchPlan


_ALL = ""
"""Value of --empty without an address."""


class _Moved:
    """Progress in megabytes, fed by several threads."""

    def __init__(self, label: str) -> None:
        self._label, self._lock = label, threading.Lock()
        self._bar = Progress(0, "MB", label)
        self._done = 0

    def start(self, size: int) -> None:
        """Begin to count towards a number of bytes."""
        self._bar = Progress(size / 1e6, "MB", self._label)

    def close(self) -> None:
        """Show the end."""
        self._bar.close(self._done / 1e6)

    def __call__(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._bar.update(self._done / 1e6)


@verb("publish hf://datasets/USER/NAME --license cc-by-4.0")
@click.argument("destination", metavar="DEST")
@click.option(
    "--license",
    metavar="NAME",
    help="Licence of zoos that state none, as the Hub spells it: cc-by-4.0, mit, ...",
)
@click.option("--private", is_flag=True, help="Create a Hub repository as a private one.")
@click.option(
    "--partial",
    is_flag=True,
    help="Publish also what was fetched with --where, --tensors or --steps, without the "
    "rest of it; the page of the catalogue says so.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be uploaded, and stop.")
@catalog_option
@json_option
def publish(
    destination: str,
    license: str | None,
    private: bool,
    partial: bool,
    dry_run: bool,
    catalog_path: str,
    as_json: bool,
) -> None:
    """Upload the newest version to DEST, which keeps all that it has.

    DEST is hf://datasets/USER/NAME, s3://BUCKET/PREFIX or a folder. Only what is missing
    there is uploaded, and readers see all of it at once. Fitted probes and generators stay
    here. Credentials are those of `hf auth login` and of AWS.
    """
    from catalog.remote.publish import Publish, Published

    job = Publish(
        open_catalog(catalog_path),
        destination,
        license=license,
        private=private,
        partial=partial,
    )
    if dry_run:
        plan = job.plan()
        if as_json:
            print_json(asdict(plan) | {"dry_run": True})
        else:
            then = ", then the commit records, README.md and croissant.json" * plan.changed
            amount = _amount(plan.files, plan.bytes)
            say(f"{plan.destination}: would upload {amount}{then}")
        return
    moved = _Moved("publish")

    def planned(plan: Published) -> None:
        note(f"{plan.destination}: {_amount(plan.files, plan.bytes)} to upload")
        for sentence in plan.notes:
            note(sentence)
        moved.start(plan.bytes)

    with _resumable():
        done = job.run(planned=planned, moved=moved)
    if done.files:
        moved.close()
    if as_json:
        print_json(asdict(done) | {"dry_run": False})
    elif not done.changed:
        say(f"{done.destination} has everything already: version {done.version}")
    else:
        say(
            f"{done.destination}: version {done.version}; {done.shards} shards new, "
            f"{done.withdrawn} withdrawn; uploaded {_amount(done.files, done.bytes)}"
        )


@verb("fetch hf://datasets/USER/NAME --catalog zoo")
@click.argument("source", metavar="SOURCE")
@click.option(
    "--where",
    metavar="SQL",
    help="Fetch only checkpoints that match an SQL condition on models of SOURCE.",
)
@click.option(
    "--tensors",
    multiple=True,
    metavar="GLOB",
    help="Fetch only tensors whose name matches a pattern, such as '*.bias'; may be "
    "repeated.",
)
@click.option(
    "--steps",
    type=click.Choice(["all", "last"]),
    help="Fetch all selected checkpoints of each run, or only the last one. Default: all.",
)
@click.option(
    "--revision",
    metavar="REV",
    help="Version number; for the Hub a branch, tag or commit. Default: the newest.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be downloaded, and stop.")
@click.option(
    "--again",
    is_flag=True,
    help="Also fetch what came from SOURCE before and was removed here.",
)
@click.option(
    "--no-verify",
    is_flag=True,
    help="Compare sizes only, not digests; 'phasezoo verify' can do it later.",
)
@catalog_option
@json_option
def fetch(
    source: str,
    where: str | None,
    tensors: tuple[str, ...],
    steps: str | None,
    revision: str | None,
    dry_run: bool,
    again: bool,
    no_verify: bool,
    catalog_path: str,
    as_json: bool,
) -> None:
    """Download the catalogue at SOURCE into the local one.

    SOURCE is hf://datasets/USER/NAME[@REV], s3://BUCKET/PREFIX, https://HOST/FOLDER or a
    folder. Only what is missing is downloaded; an interrupted fetch goes on where it
    stopped. Every file is compared with the digest that its commit record states.

    With --where, --tensors or --steps only that part is downloaded, and compared tensor by
    tensor. Ask for more later: what is here already is not downloaded again.
    """
    if where is not None or tensors or steps is not None:
        _fetch_part(
            source,
            Path(catalog_path),
            (where, tensors, steps),
            {"revision": revision, "again": again},
            dry_run=dry_run,
            verify=not no_verify,
            as_json=as_json,
        )
        return
    from catalog.remote.fetch import Fetch

    job = Fetch(source, Path(catalog_path), revision=revision, again=again)
    plan = job.plan
    amount = _amount(len(plan.files), plan.bytes)
    if dry_run:
        if as_json:
            print_json(_shown(plan) | {"dry_run": True})
        else:
            say(f"{plan.source} version {plan.version}: would download {amount}")
        return
    note(f"{plan.source} version {plan.version}: {amount} to download")
    if plan.removed:
        note(f"{len(plan.removed)} shards that were removed here stay away; see --again")
    moved = _Moved("fetch")
    moved.start(plan.bytes)
    with _resumable():
        local = job.run(verify=not no_verify, moved=moved)
    if plan.files:
        moved.close()
    if as_json:
        print_json(_shown(plan) | {"dry_run": False, "local_version": local.version})
    elif not plan.files and not plan.withdrawn:
        say(f"{catalog_path} has everything already: version {local.version}")
    else:
        say(
            f"{catalog_path}: version {local.version}; {plan.shards} shards new, "
            f"{len(plan.withdrawn)} withdrawn; downloaded {amount}"
        )


def _fetch_part(
    source: str,
    root: Path,
    part: tuple[str | None, tuple[str, ...], str | None],
    options: dict[str, Any],
    *,
    dry_run: bool,
    verify: bool,
    as_json: bool,
) -> None:
    """Fetch a part of a source."""
    from catalog.remote.part import PartialFetch
    from catalog.remote.pieces import asked_for

    job = PartialFetch(source, root, asked_for(*part), **options)
    plan = job.plan
    amount = (
        f"{counted(plan.checkpoints, 'checkpoint')} in {counted(plan.shards, 'shard')}, "
        f"{plan.bytes / 1e6:,.1f} MB of weights"
    )
    for count, what in (
        (plan.held, "are here already"),
        (plan.without, "have none of the tensors, and are left out"),
        (plan.removed, "were removed here and stay away; see --again"),
    ):
        if count:
            note(f"{count:,} of the selected checkpoints {what}")
    if dry_run:
        if as_json:
            print_json(asdict(plan) | {"dry_run": True})
        else:
            say(f"{plan.source} version {plan.version}: would download {amount}")
        return
    note(f"{plan.source} version {plan.version}: {amount} to download")
    moved = _Moved("fetch")
    moved.start(plan.bytes)
    with _resumable():
        local = job.run(verify=verify, moved=moved)
    if plan.bytes:
        moved.close()
    if as_json:
        print_json(asdict(plan) | {"dry_run": False, "local_version": local.version})
    elif not plan.shards and not plan.measures:
        say(f"{root} has everything already: version {local.version}")
    else:
        say(
            f"{root}: version {local.version}; {amount}; "
            f"{counted(plan.measures, 'row')} of measures"
        )


@verb("cite hf://datasets/USER/NAME")
@click.argument("address", metavar="[SOURCE]", required=False)
@click.option("--at", type=click.IntRange(0), metavar="VERSION", help="An older version.")
@catalog_option
@json_option
def cite(address: str | None, at: int | None, catalog_path: str, as_json: bool) -> None:
    """Print BibTeX for the local catalogue, or for the one at SOURCE.

    The entry names the version and the hash of its content, so that a reader can tell
    whether they have the same networks.
    """
    from catalog.remote.cite import cite as citation
    from catalog.remote.cite import cite_remote

    if address is None:
        found = citation(open_catalog(catalog_path, at=at))
    else:
        found = cite_remote(address, at)
    if as_json:
        print_json(found._asdict() | {"bibtex": found.bibtex()})
        return
    for line in found.bibtex().split("\n"):
        say(line)


@verb("cache --empty hf://datasets/USER/NAME")
@click.option(
    "--empty",
    "emptied",
    is_flag=False,
    flag_value=_ALL,
    metavar="[ADDRESS]",
    help="Delete what the cache holds of ADDRESS; without ADDRESS, of all. What a process "
    "is using stays.",
)
@json_option
def cache(emptied: str | None, as_json: bool) -> None:
    """List what the cache holds of remote catalogues that were read in place.

    The cache is the folder in PHASEZOO_CACHE, by default ~/.cache/phasezoo. It holds at
    most PHASEZOO_CACHE_SIZE, by default 20GB, and what is open: whatever was not used for
    longest is deleted first.
    """
    from catalog.remote.cache_bound import cache_bound
    from catalog.remote.cache_folder import cache_root
    from catalog.remote.cache_report import cached_addresses, empty_cache

    folder, bound = str(cache_root()), cache_bound()
    if emptied is not None:
        freed, left = empty_cache(None if emptied == _ALL else emptied)
        if as_json:
            print_json({"folder": folder, "freed": freed, "left": left})
            return
        say(f"{folder}: {freed / 1e6:,.1f} MB deleted")
        if left:
            note(f"{left / 1e6:,.1f} MB stay, because a process is using them.")
        return
    rows = [row._asdict() for row in cached_addresses()]
    size = sum(row["metadata"] + row["weights"] for row in rows)
    if as_json:
        print_json({"folder": folder, "bytes": size, "bound": bound, "addresses": rows})
        return
    if rows:
        print_table(rows)
    say(f"{folder}: {size:,} of at most {bound:,} bytes; --empty deletes them")


@contextlib.contextmanager
def _resumable() -> Iterator[None]:
    """Say after Ctrl-C that nothing needs to be moved twice."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "Nothing of it is visible yet. What has arrived is kept: run the same command "
            "again to go on."
        ) from None


def _shown(plan: FetchPlan) -> dict[str, object]:
    return asdict(plan) | {"files": len(plan.files)}


def _amount(files: int, size: int) -> str:
    return f"{files:,} files, {size / 1e6:,.1f} MB"
