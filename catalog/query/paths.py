"""Paths in queries: written out, and without a way back up that leads astray.

DuckDB reads below allowed folders only, and looks where links lead; but it takes ``..`` for
the end of the name before, which after a link is another folder than the system reads.
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
    """Refuse the paths of a node that are computed, or go up after a link.

    Raises
    ------
    CatalogError
        If there is one.
    """
    for path in _paths(node):
        if _goes_astray(path):
            raise CatalogError(
                f"A query cannot read {path}: its '..' comes after a link or a pattern, or "
                "is encoded. Write where the file is, without a way back up."
            )


def _goes_astray(path: str) -> bool:
    """Report if a path may lead elsewhere than its text says."""
    parts = re.split(r"[/\\]", path)
    if ".." not in parts:
        return ".." in re.split(r"[/\\]", unquote(path))
    if "\\" in path or "://" in path or path.startswith("~"):
        return True
    last = len(parts) - parts[::-1].index("..")
    way = "/".join(parts[:last])
    if re.search(r"[*?\[]", way):
        return True
    return os.path.realpath(way) != os.path.realpath(os.path.normpath(way))


def _paths(node: Tree) -> Iterator[str]:
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
    """The texts of a constant, or of a list of constants."""
    if value.get("function_name") == "list_value":
        for argument in value["arguments"]:
            yield from _texts(argument["expression"], name)
    elif value["class"] == "CONSTANT":
        yield str(value["literal"]["text"])
    else:
        raise CatalogError(
            f"A query gives {name}() a path that it computes. Expected the path itself, "
            "or a list of paths: it is looked at before anything is read."
        )
