"""Seeded damage for `test_attack`: to bytes, to JSON, and to Parquet that stays valid."""

# ruff: noqa: E501, RUF005
import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

NUMBERS = [
    0, 1, -1, 2, 7, 255, 1 << 31, 1 << 32, (1 << 49) - 1, 1 << 49, 1 << 50, 1 << 62, 1 << 63,
    1 << 64, 10**30, -(1 << 49), -(1 << 63), 1.5, float("nan"), float("inf"), 1e308,
]  # fmt: skip
TEXTS = [
    "", "../../outside/secret", "/etc/passwd", "runs/../../outside/secret.parquet", "..", "/",
    "weights/../HEAD", "C:\\x", "a\0b", "\ud800", "\u202e", "é", "🦊", "%2e%2e%2f", "'; DROP--",
    "x" * 5000, "*", "runs/*.parquet", "http://localhost:1/x.parquet", "s3://x/y", "\n", "0",
]  # fmt: skip


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def hostile(random: Random) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: random.choice(NUMBERS),
        lambda: random.choice(NUMBERS),
        lambda: random.choice(TEXTS),
        lambda: random.choice(TEXTS),
        lambda: random.choice([None, True, False, [], {}, [[]], {"": {}}]),
        lambda: nested(random.choice([5, 300, 900])),
        lambda: [random.choice(NUMBERS)] * random.choice([1, 5000]),
    ]
    return random.choice(kinds)()


def damaged(data: bytes, others: Sequence[bytes], random: Random) -> tuple[str, bytes]:
    """Other bytes, and how they came about."""
    size = len(data)
    at = random.randrange(size) if size else 0
    run = random.choice([1, 4, 16, 200])
    other = random.choice(others) if others else b"PAR1"
    how = random.choice(
        ["flip", "flip", "flips", "zeros", "noise", "cut", "extend", "splice", "graft"]
        + ["number", "number", "swap", "empty", "repeat", "drop"]
    )
    if how == "flip":
        flips, changed = [random.randrange(8 * size)] if size else [], bytearray(data)
    else:
        flips = [random.randrange(8 * size) for _ in range(random.randint(2, 40)) if size]
        changed = bytearray(data)
    if how in ("flip", "flips"):
        for bit in flips:
            changed[bit // 8] ^= 1 << bit % 8
        return f"{how} {flips[:3]}", bytes(changed)
    if how == "zeros":
        return f"{how} {at}+{run}", data[:at] + bytes(run) + data[at + run :]
    if how == "noise":
        return f"{how} {at}+{run}", data[:at] + random.randbytes(run) + data[at + run :]
    if how == "cut":
        return f"{how} {at}", data[:at]
    if how == "extend":
        return how, data + random.choice([b"\0", b"PAR1", random.randbytes(run), data])
    if how == "splice":
        where = random.randrange(len(other) + 1)
        return f"{how} {at}", data[:at] + other[where : where + run] + data[at + run :]
    if how == "graft":  # the head of one file and the end of another
        return f"{how} {at}", data[:at] + other[-(size - at) :]
    if how == "number":
        number = random.choice([0, 1, 0xFF, 1 << 31, (1 << 31) - 1, 1 << 49, (1 << 63) - 1])
        raw = number.to_bytes(8, "little")[: random.choice([4, 8])]
        if random.random() < 0.3:
            at = max(size - 8, 0)  # where Parquet keeps the length of its footer
        return f"{how} {number} at {at}", data[:at] + raw + data[at + len(raw) :]
    if how == "swap":
        return how, other
    if how == "repeat":
        return f"{how} {at}+{run}", data[:at] + data[at : at + run] * 3 + data[at + run :]
    if how == "drop":
        return f"{how} {at}+{run}", data[:at] + data[at + run :]
    return how, b""


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Ways to every value within a JSON value."""
    found = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths_of(item, (*path, key))
    if isinstance(value, list):
        for i, item in enumerate(value[:50]):
            found += paths_of(item, (*path, i))
    return found


def damaged_json(data: bytes, other: bytes, random: Random) -> tuple[str, bytes]:
    """JSON that parses, mostly, and says something else."""
    value = json.loads(data)
    path = random.choice(paths_of(value))
    how = random.choice(
        ["set", "set", "set", "set", "drop", "twice", "move", "deep", "add"]
    )
    if how == "deep":
        depth = random.choice([400, 990, 5000, 200_000])
        return f"deep {depth}", b"[" * depth + data + b"]" * depth
    if how == "twice" and isinstance(value, dict):
        key = random.choice(list(value))
        extra = json.dumps({key: hostile(random)})[1:-1].encode()
        return f"twice {key}", data.rstrip()[:-1] + b"," + extra + b"}"
    if not path:
        made = hostile(random)
        return "set all", json.dumps(made).encode()
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    if how == "drop":
        del holder[path[-1]]
    elif how == "add" and isinstance(holder, dict):
        holder[random.choice(TEXTS)] = hostile(random)
    elif how == "move":
        elsewhere = json.loads(other)
        source = random.choice(paths_of(elsewhere))
        for key in source:
            elsewhere = elsewhere[key]
        holder[path[-1]] = copy.deepcopy(elsewhere)
    else:
        how, holder[path[-1]] = "set", hostile(random)
    shown = "/".join(map(str, path))
    return f"{how} {shown}", json.dumps(value).encode()


def rewritten(path: Path, random: Random) -> str:
    """Write a Parquet file again, validly, with other content or another order."""
    table = pq.read_table(path, partitioning=None)
    n = len(table)
    names = table.column_names
    which = random.choice(names)
    how = random.choice(
        ["as is", "reverse", "shuffle", "fewer", "twice", "null", "number", "text", "drop"]
        + ["type", "empty", "columns", "no metadata", "rotate"]
    )
    options: dict[str, Any] = {
        "compression": random.choice(["none", "zstd", "snappy"]),
        "use_dictionary": random.random() < 0.5,
        "row_group_size": random.choice([1, 2, 1000]),
    }
    if how == "reverse":
        table = table.take(list(range(n))[::-1])
    elif how == "shuffle":
        table = table.take(random.sample(range(n), n))
    elif how == "fewer":
        table = table.slice(0, max(n - 1, 0))
    elif how == "twice":
        table = pa.concat_tables([table, table])
    elif how == "rotate" and n > 1:  # the values of one column move, the others stay
        order = [*range(1, n), 0]
        table = _with(table, which, table[which].combine_chunks().take(order))
    elif how in ("null", "number", "text"):
        table = _with(table, which, _changed(table[which], how, random))
    elif how == "drop":
        table = table.drop_columns([which])
    elif how == "type":
        values = pa.array(
            [random.choice([None, "x", "7"]) for _ in range(n)],
            random.choice([pa.string()]),
        )
        table = _with(table, which, values)
    elif how == "empty":
        table = table.slice(0, 0)
    elif how == "columns":
        table = table.select(random.sample(names, len(names)))
    elif how == "no metadata":
        table = table.replace_schema_metadata(None)
    pq.write_table(table, path, **options)
    return f"{how} {which} {options}"


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    at = table.column_names.index(name)
    metadata = table.schema.metadata
    changed = table.set_column(at, pa.field(name, values.type), values)
    return changed.replace_schema_metadata(metadata)


def _changed(values: pa.ChunkedArray, how: str, random: Random) -> pa.Array:
    """A column with one hostile cell, or with none that fits."""
    cells, kind = values.to_pylist(), values.type
    if not cells:
        return pa.nulls(0, kind)
    at = random.randrange(len(cells))
    if how == "null":
        cells[at] = None
        return pa.array(cells, kind)
    if pa.types.is_integer(kind):
        width = kind.bit_width
        number = int(random.choice([n for n in NUMBERS if isinstance(n, int)]))
        cells[at] = max(min(number, 2 ** (width - 1) - 1), -(2 ** (width - 1)))
        if not pa.types.is_signed_integer(kind):
            cells[at] = abs(cells[at])
        return pa.array(cells, kind)
    if pa.types.is_string(kind):
        cells[at] = random.choice([t for t in TEXTS if t.isprintable() or t in ("", "\n")])
        return pa.array(cells, kind)
    if pa.types.is_list(kind) and pa.types.is_integer(kind.value_type):
        cells[at] = [random.choice([0, -1, 1 << 20, 1 << 40, 1 << 62])] * random.choice(
            [1, 3]
        )
        return pa.array(cells, kind)
    if pa.types.is_fixed_size_list(kind) and cells[at]:
        cells[at] = [0] * len(cells[at])
        return pa.array(cells, kind)
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        cells[at] = bytes(len(cells[at] or b""))
        return pa.array(cells, kind)
    cells[at] = None
    return pa.array(cells, kind)
