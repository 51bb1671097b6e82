"""Windows of bytes of a text, for networks that predict the next byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from catalog import CatalogError, NotFound
from catalog.dtypes import Array
from catalog.storage.splits import SPLITS
from zoo.randomness import stream
from zoo.task import Data, Task

BLOCK = 64
"""Number of consecutive windows in a block. Splits are drawn over blocks, so that windows
that continue each other are mostly in the same split."""

SHARES = {"validation": 0.1, "test": 0.1}


def read_text(task: Task, path: Path | None) -> bytes:
    """Return the bytes of a file, or of the task's file in a folder.

    A folder and its subfolder NAME are searched for ``NAME.txt`` and ``NAME.parquet``,
    where NAME is the name of the task. A parquet file must have a column ``text``, whose
    distinct values are joined by line breaks. For the task ``text``, which takes any text,
    the name ``text_small`` is tried too.

    Raises
    ------
    NotFound
        If there is no text; the error says how to give a file.
    CatalogError
        If the file cannot be read.
    """
    file = None if path is None else _find(task, path)
    if file is None:
        where = f" in {path}" if path is not None else ""
        raise NotFound(
            f"There is no text{where} for the task {task.name!r} ({task.title}). Give a "
            "file in any language and encoding: --text FILE. Every byte is a token; use a "
            "file of at least 200 kB."
        )
    try:
        if file.suffix == ".parquet":
            return _parquet_text(file)
        return file.read_bytes()
    except OSError as error:
        raise CatalogError(f"{file} cannot be read: {error}") from error


def _find(task: Task, path: Path) -> Path | None:
    """Return the path if it is a file, else the task's file in the folder, or None."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise NotFound(f"There is no text in {path}: no such file or folder.")
    alternatives = ("text_small",) if task.name == "text" else ()
    for name in (task.name, *alternatives):
        for folder in (path / name, path):
            for suffix in (".txt", ".parquet"):
                if (folder / f"{name}{suffix}").is_file():
                    return folder / f"{name}{suffix}"
    return None


def _parquet_text(path: Path) -> bytes:
    """Return the distinct values of the column ``text``, joined by line breaks."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.read_table(path.absolute(), columns=["text"], partitioning=None)["text"]
    except (pa.ArrowInvalid, LookupError) as error:
        raise CatalogError(f"{path} must have a column text: {error}") from error
    lines = dict.fromkeys(text for text in column.to_pylist() if text)
    return "\n".join(lines).encode()


def windows(task: Task, text: bytes) -> Data:
    """Cut a text into disjoint windows of ``task.shape[0]`` bytes, split by a fixed seed.

    Label k of a window is the byte after its byte k.

    Raises
    ------
    CatalogError
        If there are fewer than 30 blocks of windows, too few for three splits.
    """
    (length,) = task.shape
    tokens = np.frombuffer(text, np.uint8).astype(np.int64)
    count = (len(tokens) - 1) // length
    blocks = count // BLOCK
    if blocks < 30:
        fewest = 30 * BLOCK * length + 1
        raise CatalogError(
            f"{task.title}: the text has {len(tokens):,} bytes, but three splits need at "
            f"least {fewest:,}. Give a longer --text FILE."
        )
    count = blocks * BLOCK
    x = tokens[: count * length].reshape(count, length)
    y = tokens[1 : count * length + 1].reshape(count, length)
    order = stream(0, "text split").permutation(blocks)
    parts: dict[str, Array] = {}
    for split, share in SHARES.items():
        size = max(1, round(share * blocks))
        parts[split], order = np.sort(order[:size]), order[size:]
    parts["train"] = np.sort(order)
    rows = {s: (b[:, None] * BLOCK + np.arange(BLOCK)).ravel() for s, b in parts.items()}
    digest = hashlib.sha256(f"bytes {length} split 1".encode() + text).hexdigest()[:32]
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    return Data(
        task,
        {s: x[rows[s]] for s in SPLITS},
        {s: y[rows[s]] for s in SPLITS},
        zero,
        one,
        1.0,
        digest,
    )


def load_text(task: Task, path: Path | None) -> Data:
    """Load the text of a file or folder as windows; a `Task.loader`."""
    return windows(task, read_text(task, path))
