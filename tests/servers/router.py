"""Routes by method and path, and what they share."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .answers import Answer

if TYPE_CHECKING:
    from .call import Call
    from .hub import Hub

Route = Callable[["Call"], Answer]
_REPO = r"(?P<repo>[^/]+/[^/]+?)"
API = rf"/api/(?P<kind>models|datasets)/{_REPO}"
WEB = rf"/(?P<kind>datasets/)?{_REPO}"
REVISION = "/(?P<revision>[^/]+)"


class Router:
    """A list of routes; the first that fits is taken."""

    def __init__(self) -> None:
        self.routes: list[tuple[list[str], re.Pattern[str], Route]] = []

    def route(self, methods: str, pattern: str) -> Callable[[Route], Route]:
        """Let a function answer methods, for quoted paths that a pattern matches whole."""

        def add(function: Route) -> Route:
            self.routes.append((methods.split(), re.compile(pattern), function))
            return function

        return add

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Find a route, and what the groups of its pattern are, unquoted."""
        for methods, pattern, route in self.routes:
            match = pattern.fullmatch(path) if method in methods else None
            if match:
                groups = match.groupdict().items()
                return route, {name: unquote(text) for name, text in groups if text}
        return None


def as_json(value: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with JSON; dates of cards are written as text."""
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return Answer(200, json.dumps(value, default=str).encode(), {**kind, **(headers or {})})


def is_large(hub: Hub, path: str, sample: bytes, size: int) -> bool:
    """Say whether a file is LFS: binary, or long."""
    try:
        text = "\0" not in sample[:-4].decode()  # a character may be cut
    except UnicodeDecodeError:
        text = False
    named = path.endswith((".arrow", ".bin", ".npz", ".parquet", ".safetensors", ".zst"))
    return size > 0 and (named or not text or size > hub.lfs_over)


def card(text: str) -> Any:
    """Parse what precedes the text of a README."""
    match = re.match(r"---\r?\n(.*?\n)---", text, re.DOTALL)
    yaml: Any = importlib.import_module("yaml")
    try:
        return yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError as error:
        raise ValueError(f"Invalid YAML in README.md: {error}") from None
