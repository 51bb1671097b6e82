"""The lines that commands print: results on stdout, notes on stderr, all of them printable.

No other file prints: what a catalogue holds reaches a terminal through `printable` alone.
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
    """Print one line of a result."""
    _write(printable(str(line)), sys.stdout)


def note(line: object = "") -> None:
    """Print one line that is no result: progress, what to mind, an error."""
    _write(printable(str(line)), sys.stderr)


def say_json(value: Any) -> None:
    """Print one JSON document, of values that JSON has."""
    text = json_text(value)
    if text != encodable(text, sys.stdout):
        text = json_text(value, ascii_only=True)
    _write(text, sys.stdout)


def encodable(text: str, stream: TextIO) -> str:
    """Return text that the encoding of a stream has, with escapes for what it has not."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def note_fault(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an error that nobody foresaw, for `sys.excepthook`."""
    for part in traceback.format_exception(kind, error, trace):
        for line in printable_lines(part.rstrip("\n")):
            _write(line, sys.stderr)
    note("This is a fault of phasezoo. Please report it with the lines above.")


def warning_text(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Return the text of a warning on one line, for `warnings.formatwarning`."""
    return printable(f"{category.__name__}: {message}") + "\n"


def install() -> None:
    """Make errors and warnings that Python itself prints printable."""
    sys.excepthook = note_fault
    warnings.formatwarning = warning_text


def _write(text: str, stream: TextIO) -> None:
    click.echo(encodable(text, stream), file=stream)
