"""Bytes of OpenWebText: windows of 256 bytes of the first 1 % of its documents.

The text is read from the Hub, or from a file (``--text FILE``).
"""

from __future__ import annotations

from pathlib import Path

from catalog import NotFound
from zoo.task import Data, Task
from zoo.tasks.token_windows import load_text, windows

REPOSITORY, PART = "Skylion007/openwebtext", "train[:1%]"


def _load(task: Task, path: Path | None) -> Data:
    """Read the text from a file or from the Hub."""
    if path is not None:
        return load_text(task, path)
    import datasets

    try:
        documents = datasets.load_dataset(REPOSITORY, split=PART)["text"]
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise NotFound(
            f"{task.title} could not be read from {REPOSITORY!r}: {error}. Without a "
            "connection, give a file: --text FILE"
        ) from error
    return windows(task, "\n".join(documents).encode())


openwebtext = Task(
    "openwebtext", "OpenWebText", (256,), 256, 0, objective="language", loader=_load
)
