"""EXPLAIN of a query: what stands before the query, and the query."""

from __future__ import annotations

import re

from catalog.query.refusal import refusal
from catalog.query.tokens import tokens


def split_explain(text: str) -> tuple[str, str]:
    """Return EXPLAIN with its options, written anew, and the statement after them.

    Parameters
    ----------
    text : str
        A statement that DuckDB takes for an EXPLAIN.

    Raises
    ------
    CatalogError
        If there are options other than ANALYZE and FORMAT.

    Examples
    --------
    >>> split_explain("explain /* why */ (analyze, format json) SELECT 1")
    ('EXPLAIN (ANALYZE, FORMAT json) ', 'SELECT 1')
    """
    words = tokens(text)
    at, prefix = 1, "EXPLAIN "
    if words[at].word == "ANALYZE":
        at, prefix = 2, "EXPLAIN ANALYZE "
    elif words[at].word == "(" and words[at + 1].word in ("ANALYZE", "FORMAT"):
        end = next(i for i in range(at, len(words)) if words[i].word == ")")
        options = " ".join(word.word for word in words[at + 1 : end]).replace(" ,", ",")
        one = r"(ANALYZE( TRUE| FALSE)?|FORMAT '?\w+'?)"
        pattern = rf"{one}(, {one})*"
        if not re.fullmatch(pattern, options):
            raise refusal(f"EXPLAIN ({options})")
        shown = re.sub(r"FORMAT '?(\w+)'?", lambda m: f"FORMAT {m[1].lower()}", options)
        at, prefix = end + 1, f"EXPLAIN ({shown}) "
    if at >= len(words):
        raise refusal("EXPLAIN of nothing")
    return prefix, text.encode()[words[at].start :].decode()
