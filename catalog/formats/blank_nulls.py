"""Arrow columns with zeros behind nulls, so that equal tables have equal bytes.

The bytes behind a null are arbitrary leftovers of memory. Parquet does not store these
bytes, but Arrow files do.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def blank_nulls(column: pa.ChunkedArray) -> pa.Array:
    """Return the values of a column in one chunk, with zeros behind nulls.

    Examples
    --------
    >>> blank_nulls(pa.chunked_array([[1, None], [3]])).to_pylist()
    [1, None, 3]
    """
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # no chunks, or too many values for one array
        return pa.array(values.to_pylist(), column.type)
    kind = values.type
    if not values.null_count:
        return values
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return pa.array(values.to_pylist(), kind)
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    filled = values.fill_null(pa.scalar(0).cast(kind))
    bits = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(kind, len(values), [bits, filled.buffers()[1]])
