"""Text as windows of bytes, for networks that predict the next one."""

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
"""Windows that stay together: splits are drawn over blocks, so that neighbours, which
continue each other, are mostly in one split."""

SHARES = {"validation": 0.1, "test": 0.1}


def read_text(task: Task, path: Path | None) -> bytes:
    """The bytes of a file, or of the task's file in a folder.

    A folder is searched for ``NAME.txt`` and ``NAME.parquet`` (a column ``text``, whose
    distinct values are joined by line breaks), also in a folder NAME inside, where NAME is
    the task's name; the task ``text``, which is any text, also takes ``text_small``.

    Raises
    ------
    NotFound
        If there is none, with ways to give one.
    CatalogError
        If it cannot be read.
    """
    found = None if path is None else _find(task, path)
    if found is None:
        where = f" in {path}" if path is not None else ""
        raise NotFound(
            f"No text{where} for {task.title}. Give a file, in any language and encoding: "
            "--text FILE, of which every byte is a token; 200 kB or more are sensible."
        )
    try:
        if found.suffix == ".parquet":
            return _parquet_text(found)
        return found.read_bytes()
    except OSError as error:
        raise CatalogError(f"{found} cannot be read: {error}") from error


def _find(task: Task, path: Path) -> Path | None:
    if path.is_file():
        return path
    if not path.is_dir():
        raise NotFound(f"There is no text in {path}: no such file or folder.")
    others = ("text_small",) if task.name == "text" else ()
    for name in (task.name, *others):
        for folder in (path / name, path):
            for suffix in (".txt", ".parquet"):
                if (folder / f"{name}{suffix}").is_file():
                    return folder / f"{name}{suffix}"
    return None


def _parquet_text(path: Path) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.read_table(path.absolute(), columns=["text"], partitioning=None)["text"]
    except (pa.ArrowInvalid, LookupError) as error:
        raise CatalogError(f"{path} must have a column text: {error}") from error
    lines = dict.fromkeys(text for text in column.to_pylist() if text)
    return "\n".join(lines).encode()


def windows(task: Task, text: bytes) -> Data:
    """Non-overlapping windows of ``task.shape[0]`` bytes, split by a fixed seed.

    Label k of a window is the byte behind its byte k.

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
        least = 30 * BLOCK * length + 1
        raise CatalogError(
            f"{task.title}: the text has {len(tokens):,} bytes; at least {least:,} are "
            "needed for three splits. Give a longer --text FILE."
        )
    count = blocks * BLOCK
    x = tokens[: count * length].reshape(count, length)
    y = tokens[1 : count * length + 1].reshape(count, length)
    order = stream(0, "text split").permutation(blocks)
    parts: dict[str, Array] = {}
    for split, share in SHARES.items():
        cut = max(1, round(share * blocks))
        parts[split], order = np.sort(order[:cut]), order[cut:]
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
    """A `Task.loader`: the text in a file or folder as windows."""
    return windows(task, read_text(task, path))
