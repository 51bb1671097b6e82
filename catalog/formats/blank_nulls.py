"""Arrow columns with zeros where there is no value, so that equal tables have equal bytes.

What stands behind a null is whatever the memory held before. Parquet does not store it,
Arrow's own files do.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def blank_nulls(column: pa.ChunkedArray) -> pa.Array:
    """The same values, in one chunk.

    Examples
    --------
    >>> blank_nulls(pa.chunked_array([[1, None], [3]])).to_pylist()
    [1, None, 3]
    """
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # of none, or of too many
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
