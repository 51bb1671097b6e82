"""Networks as data: layouts, populations, and catalogues of shards on disk.

It knows numbers and names, never models, and never imports torch.

Examples
--------
>>> import catalog
>>> zoo = catalog.open(getfixture("tmp_path"), create=True)
>>> zoo.sql("SELECT count(*) AS runs FROM runs").fetchall()
[(0,)]
"""

from catalog.catalog import Catalog as Catalog
from catalog.catalog import open_catalog as open
from catalog.errors import CatalogError as CatalogError
from catalog.errors import LayoutMismatch as LayoutMismatch
from catalog.errors import NotFound as NotFound
from catalog.errors import ShardCorrupt as ShardCorrupt
from catalog.importing import import_source as import_source
from catalog.layout import Layout as Layout
from catalog.layout import Param as Param
from catalog.population import Population as Population
from catalog.selection import Selection as Selection
from catalog.version import __version__ as __version__
from catalog.writer import Writer as Writer

__all__ = [
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
    "import_source",
    "open",
]
