"""Equal columns have equal bytes, whatever stood behind their nulls."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from catalog.formats.blank_nulls import blank_nulls

VALUES = {
    pa.int64(): [1, -2], pa.int8(): [1, -2], pa.float64(): [0.5, float("inf")],
    pa.float32(): [0.5, -0.0], pa.bool_(): [True, False], pa.string(): ["a", ""],
    pa.list_(pa.struct([("step", pa.int64())])): [[{"step": 1}, {"step": None}], []],
    pa.dictionary(pa.int32(), pa.string()): ["a", "b"],
}  # fmt: skip


@pytest.mark.parametrize("kind", VALUES, ids=str)
@pytest.mark.parametrize("nulls", [[], [0], [0, 3, 8, 9, 16]])
def test_values_and_nulls_stay(kind: pa.DataType, nulls: list[int]) -> None:
    values: list[Any] = [None if i in nulls else VALUES[kind][i % 2] for i in range(17)]
    parts = [pa.array(values[:5], kind), pa.array([None, *values[5:]], kind)[1:]]
    found = blank_nulls(pa.chunked_array(parts))
    found.validate(full=True)
    assert found.type == kind
    assert found.to_pylist() == values


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.int16()], ids=str)
def test_what_stands_behind_a_null_is_not_written(kind: pa.DataType) -> None:
    def written(behind: int) -> bytes:
        width = kind.bit_width // 8
        memory = np.full(12 * width, behind, np.uint8)
        memory[width : 2 * width] = 7  # the one value that is there
        buffers = [pa.py_buffer(b"\x02\x00"), pa.py_buffer(memory)]
        column = pa.chunked_array([pa.Array.from_buffers(kind, 12, buffers)])
        sink = pa.BufferOutputStream()
        table = pa.table({"x": blank_nulls(column)})
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return bytes(sink.getvalue())

    assert written(1) == written(255)


def test_a_column_of_nothing_stays_one() -> None:
    assert blank_nulls(pa.chunked_array([], pa.int64())).equals(pa.array([], pa.int64()))
