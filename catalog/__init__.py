"""Networks as data: layouts, populations, and catalogues of shards on disk.

The package handles numbers and names; it never builds a model and never imports torch.

Examples
--------
>>> import catalog
>>> zoo = catalog.open(getfixture("tmp_path"), create=True)
>>> zoo.sql("SELECT count(*) AS runs FROM runs").fetchall()
[(0,)]
"""

from catalog.alignment import Canonicaliser as Canonicaliser
from catalog.alignment import compose as compose
from catalog.alignment import invert as invert
from catalog.alignment import permute as permute
from catalog.alignment.average import average as average
from catalog.catalog import Catalog as Catalog
from catalog.errors import CatalogError as CatalogError
from catalog.errors import LayoutMismatch as LayoutMismatch
from catalog.errors import NotFound as NotFound
from catalog.errors import ShardCorrupt as ShardCorrupt
from catalog.importing import import_source as import_source
from catalog.layout import Layout as Layout
from catalog.layout import Param as Param
from catalog.plugins.moved import keep_old_names
from catalog.population import Population as Population
from catalog.remote.opening import open_catalog as open
from catalog.remote.transfer import fetch as fetch
from catalog.remote.transfer import publish as publish
from catalog.selection import Selection as Selection
from catalog.version import __version__ as __version__
from catalog.writer import Writer as Writer

keep_old_names()

__all__ = [
    "Canonicaliser",
    "Catalog",
    "CatalogError",
    "Layout",
    "LayoutMismatch",
    "NotFound",
    "Param",
    "Population",
    "Selection",
    "ShardCorrupt",
    "Writer",
    "__version__",
    "average",
    "compose",
    "fetch",
    "import_source",
    "invert",
    "open",
    "permute",
    "publish",
]
