"""Answers to queries, which can be read and narrowed down but do nothing else.

A relation of DuckDB can also run further statements, create tables and write files, on a
connection that may read files of the catalogue. An `Answer` has only the methods of a
relation that read. They are listed, so that methods that a later DuckDB adds are refused
until they have been reviewed. Methods that narrow an answer down take SQL themselves, so
the resulting query is checked like every query.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa

from catalog.console.outlet import say
from catalog.errors import CatalogError
from catalog.printable import printable_lines
from catalog.query.allowed_nodes import check_kinds
from catalog.query.exact import Reader, as_arrow, as_text
from catalog.query.refusal import sql_error
from catalog.query.tree import trees

_READS = """
arrow close description df dtypes explain fetch_arrow_reader fetch_arrow_table
fetch_record_batch fetchdf fetchnumpy iter_rows pl shape tf
to_arrow_reader to_df to_dicts torch type types
"""

_NARROWS = """
aggregate any_value arg_max arg_min avg bit_and bit_or bit_xor bool_and bool_or count cross
cume_dist dense_rank describe distinct except_ favg filter first first_value fsum geomean
head histogram intersect join lag last last_value lead list max mean median min
mode n_tile nth_value offset order percent_rank pivot product project quantile
quantile_cont quantile_disc rank rank_dense rename row_number sample select select_dtypes
select_types set_alias sort std stddev stddev_pop stddev_samp string_agg sum union
union_by_name unique unnest unpivot value_counts var var_pop var_samp variance with_columns
"""

_ARROW = """
arrow fetch_arrow_reader fetch_arrow_table fetch_record_batch pl to_arrow_reader to_dicts
"""

READS, NARROWS = frozenset(_READS.split()), frozenset(_NARROWS.split())
THROUGH_ARROW = frozenset(_ARROW.split())


class Answer:
    """Answer to a query, which is read on demand.

    Parameters
    ----------
    relation : duckdb.DuckDBPyRelation
        Relation of the query.
    connection : duckdb.DuckDBPyConnection
        Connection on which narrowed queries are checked.

    Notes
    -----
    An answer has the methods of DuckDB's relation, such as ``filter``, ``order``, ``df``,
    ``pl`` and ``to_arrow_reader``, except methods that write files, create objects or run
    other statements.
    """

    __slots__ = ("_connection", "_relation")

    def __init__(
        self, relation: duckdb.DuckDBPyRelation, connection: duckdb.DuckDBPyConnection
    ) -> None:
        self._relation, self._connection = relation, connection

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._relation.columns)

    def fetchall(self) -> list[Any]:
        """Return all rows as tuples."""
        with _sql_errors():
            return list(self._relation.fetchall())

    def to_arrow_table(self) -> pa.Table:
        """Return all rows as an Arrow table."""
        with _sql_errors():
            return as_arrow(self._relation).to_arrow_table()

    def as_text(self) -> tuple[Answer, Reader]:
        """Return the answer in JSON types or text, with a function that reads its rows.

        See `catalog.query.exact.as_text`.
        """
        with _sql_errors():
            relation, read = as_text(self._relation)
        return Answer(relation, self._connection), read

    def limit(self, rows: int, offset: int = 0) -> Answer:
        """Return at most ``rows`` rows of the answer, beginning at row ``offset``."""
        with _sql_errors():
            return Answer(self._relation.limit(rows, offset), self._connection)

    def show(self) -> None:
        """Print the first rows."""
        for line in str(self).split("\n"):
            say(line)

    def __len__(self) -> int:
        with _sql_errors():
            return len(self._relation)

    def __repr__(self) -> str:
        with _sql_errors():
            return "\n".join(printable_lines(repr(self._relation)))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        with _sql_errors():
            return as_arrow(self._relation).__arrow_c_stream__(requested_schema)

    def __getattr__(self, name: str) -> Any:
        if name not in READS | NARROWS:
            raise AttributeError(
                f"An answer has no attribute {name!r}, as it can only be read. Keep it "
                "with .to_arrow_table() or .df(), or write a file: phasezoo sql QUERY --to "
                "FILE. For another query, call .sql() of the catalogue."
            )
        through_arrow = name in THROUGH_ARROW
        attribute = getattr(
            as_arrow(self._relation) if through_arrow else self._relation, name
        )
        if not callable(attribute):
            return attribute

        def call(*arguments: Any, **options: Any) -> Any:
            values = [a._relation if isinstance(a, Answer) else a for a in arguments]
            with _sql_errors():
                answer = attribute(*values, **options)
                if isinstance(answer, duckdb.DuckDBPyRelation):
                    return self._checked(answer)
            return answer

        return call

    def _checked(self, relation: duckdb.DuckDBPyRelation) -> Answer:
        """Return the answer of a narrowed relation after a check of its whole query."""
        with self._connection.cursor() as connection:
            for tree in trees(connection, relation.sql_query()) or [{"class": "unknown"}]:
                check_kinds(tree)
        return Answer(relation, self._connection)


@contextlib.contextmanager
def _sql_errors() -> Iterator[None]:
    """Turn errors of DuckDB, and values that Python lacks, into errors with advice."""
    try:
        yield
    except duckdb.Error as error:
        raise sql_error(error) from error
    except OverflowError as error:
        raise CatalogError(
            f"Python cannot represent a value of the answer: {error}. Turn the column into "
            "text: CAST(column AS VARCHAR)."
        ) from error
