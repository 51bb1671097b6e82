"""Splitting of an EXPLAIN statement into its prefix and its query."""

from __future__ import annotations

import re

from catalog.query.refusal import refusal
from catalog.query.tokens import tokens


def split_explain(text: str) -> tuple[str, str]:
    """Return EXPLAIN with its options normalised, and the statement after them.

    Parameters
    ----------
    text : str
        Statement that DuckDB parses as an EXPLAIN.

    Raises
    ------
    CatalogError
        If there are options other than ANALYZE and FORMAT, or there is no statement.

    Examples
    --------
    >>> split_explain("explain /* why */ (analyze, format json) SELECT 1")
    ('EXPLAIN (ANALYZE, FORMAT json) ', 'SELECT 1')
    """
    words = tokens(text)
    position, prefix = 1, "EXPLAIN "
    if words[position].word == "ANALYZE":
        position, prefix = 2, "EXPLAIN ANALYZE "
    elif words[position].word == "(" and words[position + 1].word in ("ANALYZE", "FORMAT"):
        end = next(i for i in range(position, len(words)) if words[i].word == ")")
        options = " ".join(word.word for word in words[position + 1 : end]).replace(
            " ,", ","
        )
        option = r"(ANALYZE( TRUE| FALSE)?|FORMAT '?\w+'?)"
        pattern = rf"{option}(, {option})*"
        if not re.fullmatch(pattern, options):
            raise refusal(f"EXPLAIN ({options})")
        shown = re.sub(r"FORMAT '?(\w+)'?", lambda m: f"FORMAT {m[1].lower()}", options)
        position, prefix = end + 1, f"EXPLAIN ({shown}) "
    if position >= len(words):
        raise refusal("EXPLAIN without a query")
    return prefix, text.encode()[words[position].start :].decode()
