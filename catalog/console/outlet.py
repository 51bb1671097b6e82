"""Printing of commands: results to stdout, notes to stderr, all through `printable`.

No other module prints, so no text of a catalogue reaches a terminal unescaped.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from types import TracebackType
from typing import Any, TextIO

import click

from catalog.printable import json_text, printable, printable_lines


def say(line: object = "") -> None:
    """Print one line of a result to stdout."""
    _write(printable(str(line)), sys.stdout)


def note(line: object = "") -> None:
    """Print one line to stderr: progress, a remark or an error."""
    _write(printable(str(line)), sys.stderr)


def say_json(value: Any) -> None:
    """Print a JSON value as one document to stdout."""
    text = json_text(value)
    if text != encodable(text, sys.stdout):
        text = json_text(value, ascii_only=True)
    _write(text, sys.stdout)


def encodable(text: str, stream: TextIO) -> str:
    """Escape the characters of a text that the encoding of a stream does not have."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def note_fault(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an unexpected error with its traceback, for `sys.excepthook`."""
    for part in traceback.format_exception(kind, error, trace):
        for line in printable_lines(part.rstrip("\n")):
            _write(line, sys.stderr)
    note("This is a fault of phasezoo. Please report it and include the lines above.")


def warning_text(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Format a warning as one line, for `warnings.formatwarning`."""
    return printable(f"{category.__name__}: {message}") + "\n"


def install() -> None:
    """Escape the errors and warnings that Python itself prints."""
    sys.excepthook = note_fault
    warnings.formatwarning = warning_text


def _write(text: str, stream: TextIO) -> None:
    click.echo(encodable(text, stream), file=stream)
