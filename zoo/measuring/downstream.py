"""Downstream suite, which evaluates the networks of a zoo in applications.

Its parts are averages over steps and seeds, soups, ensembles, barriers, pruning, input
noise and transfer, each a metric of `zoo.metrics`. Results become columns of ``models``;
averages and fine-tuned networks become runs of separate zoos, with their parents recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog import NotFound
from catalog.errors import closest
from catalog.plugins.keywords import takes
from catalog.plugins.settings import Settings
from zoo.measuring.measure import Measured, measure_requested
from zoo.measuring.request import DownstreamRequest

if TYPE_CHECKING:
    from zoo.metric import Metric


def suite_parts(only: Sequence[str] = ()) -> list[str]:
    """Return the names of the parts of the suite.

    Parameters
    ----------
    only : sequence of str
        Names of parts or beginnings of names: ``average`` selects ``average_seeds`` and
        ``average_steps``. Empty selects all parts.

    Raises
    ------
    NotFound
        If an entry matches no part.
    """
    from zoo.metrics import metrics

    known = list(metrics("downstream"))
    parts: list[str] = []
    for part in only or [""]:
        matches = [name for name in known if name == part] or [
            name for name in known if name.startswith(part)
        ]
        if not matches:
            raise NotFound(f"The suite has no part {part!r}. {closest(part, known)}")
        parts += matches
    return list(dict.fromkeys(parts))


@takes(DownstreamRequest)
def downstream(
    catalog: str | Path,
    zoo: str,
    metrics: Sequence[Metric | str] | None = None,
    *,
    settings: Settings = (),
    announce: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> Measured:
    """Run the downstream suite on a zoo and store the results.

    Parameters
    ----------
    catalog : str or Path
        Folder of the catalogue.
    zoo : str
        Name of the zoo.
    metrics : sequence of Metric or str, optional
        Parts of the suite; default: all parts.
    settings, announce
        As for `zoo.measuring.measure`.
    **options
        Further fields of `zoo.measuring.request.DownstreamRequest`, such as ``steps``,
        whose default is ``"last"``.

    Returns
    -------
    Measured

    Raises
    ------
    CatalogError
        Under the conditions of `zoo.measuring.measure`.

    Notes
    -----
    A query over ``models`` shows which phases gain from averaging::

        SELECT phase, count(*) AS networks, avg(average_steps_gain_last) AS steps,
            avg(average_raw_gain) AS raw, avg(average_aligned_gain) AS aligned,
            avg(average_repaired_gain) AS repaired, avg(soup_gain_best) AS soup,
            avg(ensemble_gain) AS ensemble, avg(prune_cliff) AS cliff
        FROM models WHERE phase IS NOT NULL AND step = steps GROUP BY phase ORDER BY phase
    """
    request = DownstreamRequest.of(catalog, zoo, metrics, settings=settings, **options)
    return measure_requested(request, announce)
