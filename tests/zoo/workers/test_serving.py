"""Worker processes end in silence when their parent is gone."""

import io
from typing import Any

import pytest

from catalog import CatalogError
from zoo.workers import serving
from zoo.workers.serving import Line


class Closed(io.StringIO):
    """The end of a pipe whose other end is closed."""

    def flush(self) -> None:
        raise BrokenPipeError


def fail(*_: Any) -> None:
    raise CatalogError("a reason")


def test_a_parent_that_said_nothing_is_not_served(monkeypatch: Any) -> None:
    """Ctrl-C may reach the parent between the start of a worker and its first message."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert serving._code(fail, Line(io.StringIO())) == 0


@pytest.mark.parametrize("text", ["{}\n", '{"cut'])
def test_a_failure_is_told_unless_nobody_is_there(monkeypatch: Any, text: str) -> None:
    out = io.StringIO()
    for line in (Line(out), Line(Closed())):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert serving._code(fail, line) == 1
    assert '{"error": ' in out.getvalue()
