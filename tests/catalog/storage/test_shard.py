"""Shards and their readers, byte for byte, below the catalogue."""

import base64
import contextlib
import re
import struct
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import Layout, Param, Population, ShardCorrupt
from catalog.dtypes import DTYPES, Array, dtype
from catalog.names import escape
from catalog.storage import reader, shard
from catalog.storage.manifest import File, Manifest
from catalog.storage.reader import ShardReader
from catalog.storage.shard import (
    Chunk,
    find_chunks,
    footer_digest,
    row_group_rows,
    stored_params,
    write_shard,
)


def bits(value: Array) -> bytes:
    return np.ascontiguousarray(value).tobytes()


def open_shard(path: Path, population: Population, chunks: list[Chunk]) -> ShardReader:
    """A reader that trusts the file as it is now."""
    sha256, length = footer_digest(path)
    file = File("weights/x/y.parquet", path.stat().st_size, "", len(population))
    manifest = Manifest(
        "0" * 12 + "-000001", "weights", 1, "", "", {"weights": file},
        footer_sha256=sha256, footer_bytes=length,
    )  # fmt: skip
    found: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        found.setdefault(chunk.tensor, []).append(chunk)
    return ShardReader(path, manifest, population.layout, found)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shard") / "it's a [shard] ?.parquet"


@pytest.fixture
def written(
    path: Path, networks: Callable[..., Population], small_layout: Layout
) -> tuple[Population, ShardReader]:
    """Seven networks in row groups of three."""
    population = networks(small_layout, 7)
    with patch.object(shard, "ROW_GROUP_ROWS", 3):
        chunks = write_shard(path, population, "")
    return population, open_shard(path, population, chunks)


ROW_ORDERS = st.lists(st.integers(0, 6), max_size=9) | st.tuples(
    st.integers(0, 6), st.integers(0, 7)
).map(lambda ends: list(range(*sorted(ends))))


@given(st.from_type(Population), st.integers(1, 4), ROW_ORDERS)
@settings(max_examples=80)
def test_every_way_of_reading_gives_the_bytes_that_were_written(
    path: Path, population: Population, group: int, order: list[int]
) -> None:
    with patch.object(shard, "ROW_GROUP_ROWS", group):
        chunks = write_shard(path, population, '{"name": "mlp"}')
    raw, table = path.read_bytes(), pq.read_table(path, partitioning=None)
    columns = table.schema.names
    assert columns[:2] == ["pz_run_id", "pz_step"]
    assert columns[2:] == [escape(p.name) for p in stored_params(population.layout)]
    for chunk in chunks:
        rows = slice(chunk.first_row, chunk.first_row + chunk.rows)
        expected = bits(population.stored(chunk.tensor, rows))
        assert raw[chunk.offset : chunk.offset + chunk.rows * chunk.row_bytes] == expected
        assert chunk.rows <= group
    opened = open_shard(path, population, chunks)
    assert opened.trusted
    rows = np.array([i for i in order if i < len(population)], np.int64)
    for param in population.layout:
        stored = population.stored(param.name)
        out = np.empty((len(rows), *param.shape), dtype(param.dtype).storage)
        opened.read(param.name, rows, out)
        assert bits(out) == bits(stored[rows])
    for row in rows:
        for name, value in opened.read_row(row).items():
            assert isinstance(value, np.ndarray)
            assert value.shape == population.layout[name].shape
            assert bits(value) == bits(population.stored(name)[row])


@given(population=...)
@settings(max_examples=30)
def test_duckdb_sees_the_same_numbers(path: Path, population: Population) -> None:
    write_shard(path, population, "")
    source = str(path).replace("'", "''")
    with duckdb.connect() as connection:
        table = connection.sql(f"FROM read_parquet(['{source}'])").to_arrow_table()
    assert table["pz_run_id"].equals(population.table["run_id"])
    assert table["pz_step"].equals(population.table["step"])
    for param in stored_params(population.layout):
        column, kind = table[escape(param.name)].combine_chunks(), dtype(param.dtype)
        stored = population.stored(param.name).reshape(-1)
        if not kind.typed:
            assert b"".join(column.to_pylist()) == bits(stored)
            continue
        values = column.flatten().to_numpy(zero_copy_only=False)
        if param.dtype == "float16":  # comes as float32
            np.testing.assert_array_equal(values, stored.astype(np.float32))
        else:
            assert bits(values) == bits(stored)


def by_pyarrow(path: Path, **settings: object) -> None:
    pq.write_table(pq.read_table(path, partitioning=None), path, **settings)


def by_duckdb(path: Path) -> None:
    source, other = str(path).replace("'", "''"), path.with_suffix(".other")
    with duckdb.connect() as connection:
        target = str(other).replace("'", "''")
        query = f"COPY (FROM read_parquet(['{source}'])) TO '{target}' (FORMAT parquet)"
        connection.execute(query)
    other.rename(path)


REWRITES = {
    "zstd": lambda path: by_pyarrow(path, compression="zstd"),
    "dictionary": lambda path: by_pyarrow(path, compression="snappy", use_dictionary=True),
    "small row groups": lambda path: by_pyarrow(path, compression="none", row_group_size=2),
    "many pages": lambda path: by_pyarrow(path, data_page_size=8, data_page_version="2.0"),
    "duckdb": by_duckdb,
}


@pytest.mark.parametrize("how", REWRITES)
@given(population=...)
@settings(max_examples=12)
def test_a_rewritten_shard_gives_the_same_numbers(
    path: Path, how: str, population: Population
) -> None:
    chunks = write_shard(path, population, "")
    before = open_shard(path, population, chunks)
    REWRITES[how](path)
    after = ShardReader(path, before._manifest, population.layout, before._chunks)
    assert before.trusted
    assert not after.trusted
    rows = np.arange(len(population))[::-1]
    for param in population.layout:
        out = np.empty((len(rows), *param.shape), dtype(param.dtype).storage)
        after.read(param.name, rows, out)
        expected = population.stored(param.name)[rows]
        if how == "duckdb" and param.dtype == "float16":  # a NaN may change its payload
            np.testing.assert_array_equal(out, expected)
        else:
            assert bits(out) == bits(expected)
            assert bits(after.read_row(0)[param.name]) == bits(expected[-1])


def test_long_reads_in_many_pieces_are_put_together(
    written: tuple[Population, ShardReader],
) -> None:
    population, opened = written
    rows = np.arange(1, 7)
    with patch.object(reader, "_PIECE", 5):
        for param in population.layout:
            out = np.empty((len(rows), *param.shape), dtype(param.dtype).storage)
            opened.read(param.name, rows, out)
            assert bits(out) == bits(population.stored(param.name)[rows])


@given(st.integers(1, 1 << 36))
def test_row_groups_are_bounded_in_rows_and_bytes(parameters: int) -> None:
    layout = Layout((Param("w", (parameters,)),))
    rows = row_group_rows(layout)
    assert 1 <= rows <= 1000
    assert rows == 1 or rows * layout.nbytes <= 128 << 20
    assert rows == 1000 or (rows + 1) * layout.nbytes > 128 << 20


def test_every_dtype_has_been_through_a_shard(path: Path) -> None:
    layout = Layout(tuple(Param(n, (1,), (), n, "constant") for n in sorted(DTYPES)))
    extra = {n: np.ones((1, 1), DTYPES[n].storage) for n in DTYPES}
    table = pa.table({"run_id": ["a"], "step": [0]})
    population = Population(np.zeros((1, 0), np.float32), layout, table, extra)
    chunks = write_shard(path, population, "")
    row = open_shard(path, population, chunks).read_row(0)
    assert {name: value.item() for name, value in row.items()} == dict.fromkeys(DTYPES, 1)


def test_a_writer_whose_offsets_miss_commits_nothing(
    path: Path, networks: Callable[..., Population], small_layout: Layout
) -> None:
    def missed(path: Path, layout: Layout) -> list[Chunk]:
        return [Chunk(c.tensor, c.first_row, c.rows, c.offset - 1, c.row_bytes)
                for c in find_chunks(path, layout)]  # fmt: skip

    with (
        patch.object(shard, "find_chunks", missed),
        pytest.raises(ShardCorrupt, match=r"'fc.weight', rows from 0.*does not lead"),
    ):
        write_shard(path, networks(small_layout), "")


def test_offsets_are_refused_where_none_hold(
    path: Path, written: tuple[Population, ShardReader]
) -> None:
    population, _ = written
    with pytest.raises(ShardCorrupt, match="no column for tensor 'v'"):
        find_chunks(path, Layout((Param("v", (4, 3)),)))
    by_pyarrow(path, compression="zstd")
    with pytest.raises(ShardCorrupt, match="rewritten, so it has no offsets"):
        find_chunks(path, population.layout)


def cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing, but its manifest names it"),
        (lambda path: cut(path, 0), "not a readable Parquet file"),
        (lambda path: cut(path, 7), "not a readable Parquet file"),
        (lambda path: cut(path, 600), "truncated or damaged"),
        (
            lambda path: pq.write_table(pa.table({"a": [1]}), path),
            "1 rows, expected .* and 7",
        ),
        (
            lambda path: pq.write_table(
                pq.read_table(path, partitioning=None).slice(1), path
            ),
            "6 rows, expected",
        ),
        (
            lambda path: pq.write_table(
                pq.read_table(path, partitioning=None).drop_columns(["fc.bias"]), path
            ),
            "is not the shard that was committed",
        ),
        (
            lambda path: pq.write_table(
                pq.read_table(path, partitioning=None).replace_schema_metadata(
                    {"phasezoo.layout": "[]"}
                ),
                path,
            ),
            "is not the shard that was committed",
        ),
    ],
)
def test_a_file_that_is_no_longer_the_shard_is_refused(
    path: Path,
    written: tuple[Population, ShardReader],
    damage: Callable[[Path], None],
    message: str,
) -> None:
    population, opened = written
    damage(path)
    with pytest.raises(ShardCorrupt, match=message):
        ShardReader(path, opened._manifest, population.layout, opened._chunks)


@pytest.mark.parametrize(
    "change",
    [
        {"offset": -4},
        {"offset": 1 << 40},
        {"rows": 0},
        {"rows": 2},
        {"first_row": 1},
        {"row_bytes": 1 << 50},
        {"row_bytes": 4},
    ],
)
def test_offsets_that_lead_elsewhere_are_refused(
    path: Path, written: tuple[Population, ShardReader], change: dict[str, int]
) -> None:
    population, opened = written
    hostile = dict(opened._chunks)
    first, *rest = hostile["fc.weight"]
    hostile["fc.weight"] = [Chunk(**{**vars(first), **change}), *rest]
    with pytest.raises(
        ShardCorrupt, match=r"offsets of tensor 'fc.weight' do not lead to its 7"
    ):
        ShardReader(path, opened._manifest, population.layout, hostile)


def test_row_groups_of_uneven_length_are_refused(
    path: Path, written: tuple[Population, ShardReader]
) -> None:
    """The row group of a row is found by division."""
    population, opened = written
    uneven = dict(opened._chunks)
    first, *rest = uneven["mask"]
    parts = [
        Chunk("mask", 0, 2, first.offset, first.row_bytes),
        Chunk("mask", 2, 1, first.offset + 2 * first.row_bytes, first.row_bytes),
    ]
    uneven["mask"] = [*parts, *rest]
    with pytest.raises(ShardCorrupt, match="offsets of tensor 'mask' do not lead to its 7"):
        ShardReader(path, opened._manifest, population.layout, uneven)


def test_a_file_whose_values_moved_under_an_intact_footer_is_refused(
    path: Path, written: tuple[Population, ShardReader]
) -> None:
    population, opened = written
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes(12) + data[4:])
    after = ShardReader(path, opened._manifest, population.layout, opened._chunks)
    assert not after.trusted
    with pytest.raises(ShardCorrupt, match=r"fc.weight cannot be read"):
        after.read("fc.weight", np.arange(7), np.empty((7, 4, 3), np.float32))


def test_a_file_that_shrinks_while_open_is_reported(
    path: Path, written: tuple[Population, ShardReader]
) -> None:
    _, opened = written
    cut(path, 200)
    with pytest.raises(ShardCorrupt, match="truncated or altered while it was read"):
        opened.read("mask", np.arange(7), np.empty((7, 2, 2), bool))


def test_a_rewritten_shard_with_a_flipped_bit_in_a_page_is_refused(
    path: Path, written: tuple[Population, ShardReader]
) -> None:
    population, opened = written
    by_pyarrow(path, compression="none", use_dictionary=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[data.index(bits(population.stored("fc.weight"))) + 5] ^= 1
    path.write_bytes(data)
    after = ShardReader(path, opened._manifest, population.layout, opened._chunks)
    with pytest.raises(ShardCorrupt, match=r"fc.weight cannot be read .*CRC"):
        after.read("fc.weight", np.arange(7), np.empty((7, 4, 3), np.float32))


@pytest.mark.parametrize("rows", [[7], [0, 7], [-1], [3, -1], [1 << 40]])
def test_rows_that_the_shard_does_not_have_are_refused(
    path: Path, written: tuple[Population, ShardReader], rows: list[int]
) -> None:
    population, opened = written
    by_pyarrow(path, compression="zstd")
    after = ShardReader(path, opened._manifest, population.layout, opened._chunks)
    for shard_reader in (opened, after):
        with pytest.raises(
            ShardCorrupt, match="has rows 0 to 6, but checkpoints/ names row"
        ):
            shard_reader.read("mask", np.array(rows), np.empty((len(rows), 2, 2), bool))
    with pytest.raises(ShardCorrupt, match="has rows 0 to 6"):
        after.read_row(rows[-1])


def test_a_footer_that_counts_other_rows_of_a_group_is_refused(
    path: Path, written: tuple[Population, ShardReader]
) -> None:
    _, opened = written
    data = path.read_bytes()
    length = footer_digest(path)[1]
    refused = 0
    for at in range(len(data) - length, len(data)):
        if data[at] == 6:  # three rows as Thrift writes them, among others
            path.write_bytes(data[:at] + b"\0" + data[at + 1 :])
            try:
                after = ShardReader(path, opened._manifest, opened.layout, opened._chunks)
                after.read("mask", np.arange(7), np.empty((7, 2, 2), bool))
            except ShardCorrupt as error:
                refused += "has 4 rows, expected 7" in str(error)
    assert refused


def test_a_footer_with_absurdly_wide_lists_takes_no_memory(
    path: Path, written: tuple[Population, ShardReader]
) -> None:
    _, opened = written
    data = path.read_bytes()
    found = re.search(rb"ARROW:schema.{1,6}?(/////[A-Za-z0-9+/=]+)", data, re.DOTALL)
    assert found
    size, widths = 12 + (1 << 28), set()
    for place in re.finditer(rb"\x0c\0\0\0", base64.b64decode(found[1])):
        schema = bytearray(base64.b64decode(found[1]))
        schema[place.start() : place.end()] = struct.pack("<i", size)
        path.write_bytes(data.replace(found[1], base64.b64encode(schema)))
        with contextlib.suppress(OSError):  # 12 is also an offset within the schema
            widths.add(pq.read_schema(path).field("fc.weight").type.list_size)
        if size in widths:
            break
    assert size in widths
    after = ShardReader(path, opened._manifest, opened.layout, opened._chunks)
    most = max(pa.default_memory_pool().max_memory(), 1 << 26)
    after.check_keys([])
    with pytest.raises(ShardCorrupt, match=r"fc.weight cannot be read"):
        after.read("fc.weight", np.arange(7), np.empty((7, 4, 3), np.float32))
    assert pa.default_memory_pool().max_memory() <= most


def test_a_footer_with_names_that_are_no_text_is_refused(tmp_path: Path) -> None:
    """As a flipped bit in a column's name gives: pyarrow decodes names when it opens."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"abcdefgh": [1]}), path, store_schema=False)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"abcdefgh", b"abc\xff\xfefgh"))
    with pytest.raises(ShardCorrupt, match="not a readable Parquet file"):
        shard.read_footer(path)
