"""Everything that a catalogue and the files beside it hold, to compare two of them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import catalog
from catalog.catalog import arrow_table
from catalog.quoting import literal
from catalog.storage.temporaries import TEMPORARY

VOLATILE = {"created", "engine", "shard", "row"}
"""Columns of `models` that another run of the same command fills otherwise."""

KEPT = ("out", "zoo/probes", "zoo/generators")
"""Folders of a trial with files that a command writes for its user."""

_PART = re.compile(rb"\b[A-Za-z]+[0-9a-f]{10}\b")
"""How matplotlib names parts of a picture: by their addresses in memory."""

STATE = "out/state.safetensors"
"""Of a fit: new after each epoch."""

Near = tuple[float, float]


@dataclass
class Content:
    """Rows of `models`, weights, and files.

    Attributes
    ----------
    rows : dict of str to dict
        By run_id@step, without nulls.
    weights : dict of str to ndarray
        The same keys, of those that have weights.
    files : dict of str to str
        Digest by path.
    """

    rows: dict[str, dict[str, Any]]
    weights: dict[str, np.ndarray[Any, Any]]
    files: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> Content:
        """Read a trial's folder; every weight is compared with its hash."""
        rows: dict[str, dict[str, Any]] = {}
        weights: dict[str, np.ndarray[Any, Any]] = {}
        if (folder / "zoo" / "manifests").is_dir():
            store = catalog.open(folder / "zoo")
            for row in arrow_table(store.sql("FROM models")).to_pylist():
                kept = {k: v for k, v in row.items() if v is not None and k not in VOLATILE}
                key = f"{row['run_id']}@{row['step']}"
                if key in rows:
                    raise AssertionError(f"{key} is there twice")
                rows[key] = kept
            archs = {r["arch_id"] for r in rows.values() if r.get("arch_id")}
            for arch in sorted(archs):
                where = f"arch_id = {literal(arch)} AND row IS NOT NULL"
                loaded = store.load(where, verify=True)
                keys = zip(loaded["run_id"], loaded["step"], strict=True)
                for (run, step), values in zip(keys, loaded.weights, strict=True):
                    weights[f"{run}@{step}"] = values
        return cls(rows, weights, files(folder))

    def save(self, path: Path) -> None:
        """Keep it as two files."""
        text = json.dumps({"rows": self.rows, "files": self.files})
        path.with_suffix(".json").write_text(text)
        np.savez(path.with_suffix(".npz"), **self.weights)

    @classmethod
    def load(cls, path: Path) -> Content:
        """What was kept."""
        kept = json.loads(path.with_suffix(".json").read_text())
        with np.load(path.with_suffix(".npz")) as arrays:
            return cls(kept["rows"], dict(arrays), kept["files"])

    def differences(self, other: Content, near: Near, *, outside: bool = True) -> list[str]:
        """How it differs from what was expected, as sentences."""
        found = _keys(self.rows, other.rows, "checkpoint")
        found += _keys(self.weights, other.weights, "weights of")
        for key in self.rows.keys() & other.rows.keys():
            found += _columns(key, self.rows[key], other.rows[key], near)
        for key in self.weights.keys() & other.weights.keys():
            if not _close(self.weights[key], other.weights[key], near):
                found.append(f"{key} has other weights")
        if outside:
            found += _keys(self.files, other.files, "file")
            both = self.files.keys() & other.files.keys()
            found += [f"{n} differs" for n in both if self.files[n] != other.files[n]]
        return found

    def strangers(self, before: Content, after: Content, near: Near) -> list[str]:
        """What is neither as before a command nor as after it.

        New checkpoints may come before what is measured of them.
        """
        sides = (before, after)
        found = []
        must = before.rows.keys() & after.rows.keys()
        found += [f"{key} is missing" for key in must - self.rows.keys()]
        for key, row in self.rows.items():
            known = [side.rows[key] for side in sides if key in side.rows]
            if not known:
                found.append(f"{key} is known neither before nor after")
                continue
            if key not in before.rows:
                known.append({})
            names = {name for one in known for name in one} | row.keys()
            for name in names:
                wrong = [_columns(key, _only(row, name), _only(one, name), near)
                         for one in known]  # fmt: skip
                if all(wrong):
                    found += wrong[-1]
            values = [side.weights[key] for side in sides if key in side.weights]
            if values and not any(
                key in self.weights and _close(self.weights[key], one, near)
                for one in values
            ):
                found.append(f"{key} has weights of neither")
        return found

    def halves(self, before: Content, after: Content) -> list[str]:
        """Files that are neither those of before nor those of after."""
        found = []
        places = {_place(name) for c in (self, before, after) for name in c.files}
        for place in sorted(places - {STATE}):
            own, old, new = (
                {n: d for n, d in c.files.items() if _place(n) == place}
                for c in (self, before, after)
            )
            if own not in (old, new):
                found.append(f"{place} is neither the one before nor the new one")
        return found


def digest(path: Path) -> str:
    """Digest of a file; of a picture without the names that its parts get by chance."""
    data = path.read_bytes()
    if path.suffix in (".svg", ".html"):
        numbers: dict[bytes, bytes] = {}
        data = _PART.sub(
            lambda found: numbers.setdefault(found[0], b"part%d" % len(numbers)), data
        )
    return hashlib.sha256(data).hexdigest()


def files(folder: Path) -> dict[str, str]:
    """Digests of what users keep; not of what a killed process did not finish."""
    found = {}
    for kept in KEPT:
        for path in sorted((folder / kept).rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not any(map(TEMPORARY.fullmatch, name.parts)):
                found[str(name)] = digest(path)
    return found


def _place(name: str) -> str:
    """A file, or the folder of files that comes as one."""
    parts = Path(name).parts
    return "/".join(parts[:2] if parts[0] == "out" else parts)


def _only(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name: row[name]} if name in row else {}


def _keys(found: Iterable[str], expected: Iterable[str], what: str) -> list[str]:
    found, expected = set(found), set(expected)
    return [
        *(f"{what} {key} is missing" for key in sorted(expected - found)),
        *(f"{what} {key} was not expected" for key in sorted(found - expected)),
    ]


def _columns(
    key: str, found: Mapping[str, Any], expected: Mapping[str, Any], near: Near
) -> list[str]:
    return [
        f"{key}: {name} is {found.get(name)!r}, expected {expected.get(name)!r}"
        for name in sorted(found.keys() | expected.keys())
        if not _same(found.get(name), expected.get(name), near)
    ]


def _same(one: Any, other: Any, near: Near) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        relative, absolute = near
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return math.isclose(one, other, rel_tol=relative, abs_tol=absolute)
    return bool(one == other)


def _close(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], near: Near) -> bool:
    if one.shape != other.shape:
        return False
    relative, absolute = near
    return bool(np.allclose(one, other, relative, absolute, equal_nan=True))
