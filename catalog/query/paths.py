"""Checks of paths in queries: constant, and without a misleading ``..``.

DuckDB reads below allowed folders only, and follows links to check that. But it removes
``..`` together with the name before, which after a link is another folder than the
operating system reads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote

from catalog.errors import CatalogError
from catalog.query.functions import OF_FILES
from catalog.query.tree import Tree


def check_paths(node: Tree) -> None:
    """Check that the paths of a node are constants and contain no misleading ``..``.

    Raises
    ------
    CatalogError
        If a path is computed, or has a ``..`` that comes after a link or a pattern, or is
        encoded.
    """
    for path in _paths(node):
        if _is_misleading(path):
            raise CatalogError(
                f"A query cannot read {path}: its '..' comes after a link or a pattern, or "
                "is encoded. Write the path of the file without '..'."
            )


def _is_misleading(path: str) -> bool:
    """Return whether a path may lead elsewhere than its text says."""
    parts = re.split(r"[/\\]", path)
    if ".." not in parts:
        return ".." in re.split(r"[/\\]", unquote(path))
    if "\\" in path or "://" in path or path.startswith("~"):
        return True
    last = len(parts) - parts[::-1].index("..")
    prefix = "/".join(parts[:last])
    if re.search(r"[*?\[]", prefix):
        return True
    return os.path.realpath(prefix) != os.path.realpath(os.path.normpath(prefix))


def _paths(node: Tree) -> Iterator[str]:
    """Yield the paths that a node reads, and the names of tables, which may be paths."""
    if node.get("type") == "BASE_TABLE":
        yield str(node.get("table_name", ""))
    name = node.get("function_name")
    if not isinstance(name, str) or name.lower() not in OF_FILES:
        return
    for argument in node["arguments"]:
        value = argument["expression"]
        if not argument["name"] and value["class"] != "COMPARISON":
            yield from _texts(value, name)


def _texts(value: Tree, name: str) -> Iterator[str]:
    """Yield the texts of a constant, or of a list of constants."""
    if value.get("function_name") == "list_value":
        for argument in value["arguments"]:
            yield from _texts(argument["expression"], name)
    elif value["class"] == "CONSTANT":
        yield str(value["literal"]["text"])
    else:
        raise CatalogError(
            f"A query cannot compute the path of {name}(). Write the path itself or a list "
            "of paths, as paths are checked before the query is run."
        )
