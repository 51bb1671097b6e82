"""The downstream suite: what the networks of a zoo are good for.

Averages over steps and seeds, soups, ensembles, barriers, pruning, input noise and
transfer, each a metric of `zoo.metrics`. Results become columns of ``models``; averages
and fine-tuned networks become runs of zoos of their own, with their parents.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog import NotFound
from catalog.errors import closest
from zoo.measuring.measure import Measured, measure

if TYPE_CHECKING:
    from zoo.metric import Metric


def suite_parts(only: Sequence[str] = ()) -> list[str]:
    """Names of the parts of the suite.

    Parameters
    ----------
    only : sequence of str
        Names, or how some begin: ``average`` is ``average_seeds`` and ``average_steps``.

    Raises
    ------
    NotFound
        If nothing is called so.
    """
    from zoo.metrics import metrics

    known = list(metrics("downstream"))
    found: list[str] = []
    for part in only or [""]:
        own = [name for name in known if name == part] or [
            name for name in known if name.startswith(part)
        ]
        if not own:
            raise NotFound(f"No part {part!r} of the suite. {closest(part, known)}")
        found += own
    return list(dict.fromkeys(found))


def downstream(
    catalog: str | Path,
    zoo: str,
    metrics: Sequence[Metric | str] | None = None,
    *,
    steps: str = "last",
    **options: Any,
) -> Measured:
    """Run the downstream suite on a zoo and store what comes out.

    Parameters
    ----------
    catalog : str or Path
        Folder of the catalogue.
    zoo : str
        Name of the zoo.
    metrics : sequence of Metric or str, optional
        Parts of the suite; default all.
    steps : {"last", "all"}, default="last"
        Which checkpoints; averages over steps see all of a run.
    **options
        As of `zoo.measuring.measure`.

    Returns
    -------
    Measured

    Raises
    ------
    CatalogError
        As `zoo.measuring.measure`.

    Notes
    -----
    Which phase gains from averaging is one query over ``models``::

        SELECT phase, count(*) AS networks, avg(average_steps_gain_last) AS steps,
            avg(average_raw_gain) AS raw, avg(average_aligned_gain) AS aligned,
            avg(average_repaired_gain) AS repaired, avg(soup_gain_best) AS soup,
            avg(ensemble_gain) AS ensemble, avg(prune_cliff) AS cliff
        FROM models WHERE phase IS NOT NULL AND step = steps GROUP BY phase ORDER BY phase
    """
    parts = suite_parts() if metrics is None else metrics
    return measure(catalog, zoo, parts, steps=steps, **options)
