"""Publishing and fetching in one call each."""

from __future__ import annotations

from pathlib import Path

from catalog.catalog import Catalog, open_catalog


def publish(
    catalog: Catalog,
    destination: str | Path,
    *,
    license: str | None = None,
    private: bool = False,
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

    Returns
    -------
    int
        Version of the destination.

    Raises
    ------
    CatalogError
        If removed checkpoints are still in the files, a zoo has no licence, both sides have
        other weights for one checkpoint, or the destination refuses.
    """
    from catalog.remote.publish import Publish

    newest = catalog.refreshed()
    job = Publish(newest, str(destination), license=license, private=private)
    return job.run().version


def fetch(
    source: str | Path,
    root: str | Path,
    *,
    revision: str | None = None,
    again: bool = False,
    verify: bool = True,
) -> Catalog:
    """Download the catalogue at an address into a local one, and open that.

    Parameters
    ----------
    source : str or Path
        ``hf://datasets/USER/NAME[@REV]``, ``s3://BUCKET/PREFIX``,
        ``https://HOST/FOLDER`` or a folder.
    root : str or Path
        Local catalogue, which is made if it is not there.
    revision : str, optional
        Version number; for the Hub a branch, tag or commit.
    again : bool, default=False
        Fetch also what came from the source before and was removed here.
    verify : bool, default=True
        Compare files with their digests.

    Returns
    -------
    Catalog

    Raises
    ------
    CatalogError
        If the source cannot be read, or both sides have other weights for one checkpoint.
    """
    from catalog.remote.fetch import Fetch

    Fetch(str(source), Path(root), revision=revision, again=again).run(verify=verify)
    return open_catalog(root)
