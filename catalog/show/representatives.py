"""Representative networks of a zoo: best, median and worst on the validation split.

The test split is not used for the choice: the test accuracy of a network that was chosen
by its test accuracy would be biased.
"""

from __future__ import annotations

from catalog.catalog import Catalog
from catalog.rows import Rows, rows_of

BY_VALIDATION = (
    "best, median and worst of the last checkpoints by validation accuracy; networks "
    "without one, such as diverged runs, are left out"
)
BY_RUN_ID = (
    "first, middle and last by run_id, because no validation accuracy is recorded: the "
    "test split is never used to choose"
)

_CANDIDATES = """
SELECT run_id, step, arch_id, "row" IS NOT NULL AS has_weights, train_accuracy,
    validation_accuracy, test_accuracy
FROM models WHERE zoo = :zoo
QUALIFY step = max(step) OVER (PARTITION BY run_id)"""

_ENDS = f"""
WITH candidates AS ({_CANDIDATES}), preferred AS (FROM candidates
    WHERE has_weights OR NOT (SELECT bool_or(has_weights) FROM candidates)),
ranked AS (
    SELECT *, {{rank}} AS place, count(*) OVER () AS n FROM preferred WHERE {{where}})
SELECT CASE place WHEN 1 THEN '{{first}}' WHEN n THEN '{{last}}' ELSE '{{middle}}' END
    AS which, * EXCLUDE (place, n)
FROM ranked WHERE place IN (1, (n + 1) // 2, n) ORDER BY place"""

_RANK = "row_number() OVER (ORDER BY {order})"


def representatives(catalog: Catalog, zoo: str) -> tuple[Rows, str]:
    """Choose up to three representative checkpoints of a zoo.

    Checkpoints with weights are preferred, ties in accuracy are broken by run_id, and a
    zoo with fewer than three networks has fewer representatives.

    Returns
    -------
    rows : list of dict
        ``which``, ``run_id``, ``step``, ``arch_id``, ``has_weights`` and accuracies of
        each chosen checkpoint.
    rule : str
        Rule of the choice, in words.
    """
    order = _RANK.format(order="validation_accuracy DESC, run_id")
    query = _ENDS.format(
        rank=order,
        where="isfinite(validation_accuracy)",
        first="best",
        middle="median",
        last="worst",
    )
    rows = rows_of(catalog, query, zoo=zoo)
    if rows:
        return rows, BY_VALIDATION
    query = _ENDS.format(
        rank=_RANK.format(order="run_id"),
        where="true",
        first="first",
        middle="middle",
        last="last",
    )
    return rows_of(catalog, query, zoo=zoo), BY_RUN_ID
