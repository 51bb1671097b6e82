"""Publishing and fetching in one call each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catalog.catalog import Catalog, open_catalog


def publish(
    catalog: Catalog,
    destination: str | Path,
    *,
    license: str | None = None,
    private: bool = False,
    partial: bool = False,
) -> int:
    """Upload the newest version of a catalogue to a place that keeps all it has.

    Parameters
    ----------
    catalog : Catalog
    destination : str or Path
        ``hf://datasets/USER/NAME``, ``s3://BUCKET/PREFIX`` or a folder.
    license : str, optional
        Licence of zoos that state none, as the Hub spells it.
    private : bool, default=False
        Make a Hub repository private when it is created.
    partial : bool, default=False
        Publish also what was fetched in part, without the rest of it.

    Returns
    -------
    int
        Version of the destination.

    Raises
    ------
    CatalogError
        If a part of the catalogue was fetched without the rest and ``partial`` is false,
        removed checkpoints are still in the files, a zoo has no licence, both sides have
        other weights for one checkpoint, or the destination refuses.
    """
    from catalog.remote.publish import Publish

    newest = catalog.refreshed()
    job = Publish(
        newest, str(destination), license=license, private=private, partial=partial
    )
    return job.run().version


def fetch(
    source: str | Path,
    root: str | Path,
    *,
    where: str | None = None,
    tensors: Sequence[str] = (),
    steps: str | None = None,
    revision: str | None = None,
    again: bool = False,
    verify: bool = True,
) -> Catalog:
    """Download the catalogue at an address, or a part of it, and open the local one.

    Parameters
    ----------
    source : str or Path
        ``hf://datasets/USER/NAME[@REV]``, ``s3://BUCKET/PREFIX``,
        ``https://HOST/FOLDER`` or a folder.
    root : str or Path
        Local catalogue, which is made if it is not there.
    where : str, optional
        SQL condition on `models` that selects checkpoints of the source.
    tensors : sequence of str, optional
        Patterns of the names of tensors to fetch, such as ``"*.bias"``.
    steps : {"all", "last"}, optional
        Fetch all selected checkpoints of each run, or the last selected one.
    revision : str, optional
        Version number; for the Hub a branch, tag or commit.
    again : bool, default=False
        Fetch also what came from the source before and was removed here.
    verify : bool, default=True
        Compare files with their digests.

    Returns
    -------
    Catalog
        The local catalogue. With ``where``, ``tensors`` or ``steps``, some of its networks
        may lack tensors; asking for more later downloads what is missing.

    Raises
    ------
    CatalogError
        If the source cannot be read, or both sides have other weights for one checkpoint.
    """
    from catalog.remote.fetch import Fetch

    if where is None and not tensors and steps is None:
        Fetch(str(source), Path(root), revision=revision, again=again).run(verify=verify)
        return open_catalog(root)
    from catalog.remote.part import PartialFetch
    from catalog.remote.pieces import asked_for

    asked = asked_for(where, tensors, steps)
    job = PartialFetch(str(source), Path(root), asked, revision=revision, again=again)
    return job.run(verify=verify)
