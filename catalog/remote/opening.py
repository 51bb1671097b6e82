"""The door to catalogues, wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catalog.catalog import Catalog
from catalog.catalog import open_catalog as open_folder
from catalog.errors import CatalogError
from catalog.remote.address import is_url, parse_address
from catalog.remote.remote_catalog import RemoteCatalog


def open_catalog(
    path: str | Path | None = None,
    *,
    create: bool = False,
    at: int | None = None,
    allow: Sequence[str | Path] = (),
    offline: bool | None = None,
) -> Catalog:
    """Open a catalogue at its newest version, or at an older one.

    Parameters
    ----------
    path : str or Path, optional
        Folder, or address of a remote catalogue: ``hf://datasets/USER/NAME[@REV]``,
        ``s3://BUCKET/PREFIX`` or ``https://HOST/FOLDER``. Default: ``PHASEZOO_HOME``, else
        ``./phasezoo-data``.
    create : bool, default=False
        Create an empty catalogue if there is none; for folders only.
    at : int, optional
        Version to open, as `Catalog.version` and ``phasezoo versions`` number them.
        Default: the newest.
    allow : sequence of str or Path, optional
        Folders whose files queries may read, besides the catalogue.
    offline : bool, optional
        Whether to read a remote catalogue from the cache alone. Default: only if
        ``PHASEZOO_OFFLINE`` is set.

    Returns
    -------
    Catalog
        A remote one reads its metadata into the user's cache (``PHASEZOO_CACHE``, default
        ``~/.cache/phasezoo``) and downloads the ranges of weights that are read, each once.
        It cannot be written to. The cache holds at most ``PHASEZOO_CACHE_SIZE``, default
        20GB, besides what is open; ``phasezoo cache`` lists it.

    Raises
    ------
    NotFound
        If there is no catalogue and ``create`` is false, or if the version or an allowed
        folder does not exist.
    CatalogError
        If a remote catalogue cannot be read, or, offline, is not in the cache.
    """
    if path is None or isinstance(path, Path) or not is_url(str(path)):
        return open_folder(path, create=create, at=at, allow=allow)
    if create:
        raise CatalogError(
            f"{path} is remote; create a catalogue in a folder, and publish it there."
        )
    return RemoteCatalog(parse_address(str(path)), at=at, allow=allow, offline=offline)
