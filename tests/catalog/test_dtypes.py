import math
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from catalog import LayoutMismatch
from catalog.dtypes import DTYPES, dtype, narrow, round_to_float32, widen

HALVES = np.arange(1 << 16, dtype=np.uint16)
FLOAT32_BITS = hnp.arrays(np.uint32, st.integers(0, 9)).map(
    lambda bits: bits.view(np.float32)
)
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-45, -1e-40, 3.4e38], np.float32)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bit for bit, but one NaN is as good as another."""
    bits = a.view(f"u{a.itemsize}") == b.view(f"u{b.itemsize}")
    return a.dtype == b.dtype and bool((bits | (np.isnan(a) & np.isnan(b))).all())


def test_every_float16_survives_widening() -> None:
    values = HALVES.view(np.float16)
    wide = widen(values, "float16")
    assert wide.dtype == np.float32
    assert np.isinf(wide).sum() == 2
    assert same(narrow(wide, "float16"), values)


def test_every_bfloat16_survives_widening_with_its_bits() -> None:
    wide = widen(HALVES, "bfloat16")
    assert wide[0x3FC0] == 1.5
    assert wide[0x8000] == 0
    assert np.signbit(wide[0x8000])
    assert np.array_equal(narrow(wide, "bfloat16"), HALVES)


@given(FLOAT32_BITS)
def test_float32_is_kept_bit_for_bit(values: np.ndarray) -> None:
    assert np.array_equal(widen(values, "float32").view(np.uint32), values.view(np.uint32))
    assert np.array_equal(narrow(values, "float32").view(np.uint32), values.view(np.uint32))


@given(FLOAT32_BITS)
def test_every_float32_survives_float64(values: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):
        wide = values.astype(np.float64)
    assert same(narrow(widen(wide, "float64"), "float64"), wide)


@pytest.mark.parametrize("name", ["float16", "float32", "float64", "bfloat16"])
def test_signs_nans_and_infinities_survive_in_every_dtype(name: str) -> None:
    special = SPECIAL[:5]
    back = widen(narrow(special, name), name)
    assert same(back, special)


def is_exact(value: float, name: str) -> bool:
    """Whether a float32 has an equal: the oracle is `struct`, or the low 16 bits."""
    if name == "bfloat16":
        return struct.pack("<f", value)[:2] == b"\0\0"
    try:
        return math.isnan(value) or struct.unpack("e", struct.pack("e", value))[0] == value
    except OverflowError:
        return False


@given(st.floats(width=32) | st.floats(width=16), st.sampled_from(["float16", "bfloat16"]))
@example(65504.0, "float16")
@example(65520.0, "float16")
@example(2.0**-24, "float16")
@example(2.0**-25, "float16")
@example(math.inf, "bfloat16")
def test_narrowing_is_exact_or_refused(value: float, name: str) -> None:
    values = np.array([1.0, value], np.float32)
    if is_exact(value, name):
        assert same(widen(narrow(values, name), name), values)
    else:
        with pytest.raises(LayoutMismatch, match=f"not exact in {name}"):
            narrow(values, name)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0.1, "float16"),
        (0.1, "bfloat16"),
        (1e5, "float16"),
        (1e-9, "float16"),
        (257, "bfloat16"),
    ],
)
def test_narrowing_refuses_what_it_would_change(value: float, name: str) -> None:
    with pytest.raises(LayoutMismatch, match=f"not exact in {name}.*'float32'"):
        narrow(np.array([1, value], np.float32), name)


@pytest.mark.parametrize("beside", [0.0, np.nan, np.inf])
@pytest.mark.parametrize(
    ("value", "error"), [(0.1, "1.49e-09"), (1e300, "inf"), (1e-60, "1e-60")]
)
def test_a_lossy_float64_is_refused_and_the_loss_stated(
    value: float, error: str, beside: float
) -> None:
    with pytest.raises(LayoutMismatch, match=f"1 float64 values .*{error}.*lossy=True"):
        widen(np.array([beside, value]), "float64")


@given(hnp.arrays(np.uint64, 5).map(lambda bits: bits.view(np.float64)))
def test_rounding_picks_the_nearest_float32(values: np.ndarray) -> None:
    rounded = round_to_float32(values)
    assert np.array_equal(np.isnan(rounded), np.isnan(values))
    near = np.isfinite(values) & np.isfinite(rounded)
    for direction in (-np.inf, np.inf):
        other = np.nextafter(rounded[near], np.float32(direction)).astype(np.float64)
        fair = np.isfinite(other)
        wide = rounded[near].astype(np.float64)
        worse = abs(other - values[near]) >= abs(wide - values[near])
        assert worse[fair].all()


def test_a_bfloat16_nan_is_never_cut_to_infinity() -> None:
    thin = np.array([0x7F800001], np.uint32).view(np.float32)  # payload in the low half
    with pytest.raises(LayoutMismatch, match="not exact in bfloat16"):
        narrow(thin, "bfloat16")


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_the_arrow_type_has_the_bytes_of_the_tensor(name: str) -> None:
    kind, n = DTYPES[name], 6
    arrow = kind.arrow_type(n)
    width = arrow.byte_width if not kind.typed else n * arrow.value_type.bit_width // 8
    assert width == n * kind.storage.itemsize
    assert kind.storage.byteorder in "=|<"
    assert not kind.typed or not arrow.value_field.nullable
    assert kind.floating == (name in ("float16", "bfloat16", "float32", "float64"))
    assert pa.types.is_fixed_size_list(arrow) == kind.typed


def test_an_unknown_dtype_is_answered_with_the_closest() -> None:
    with pytest.raises(
        LayoutMismatch, match=r"Unknown dtype 'bfloat15'. Closest: bfloat16"
    ):
        dtype("bfloat15")
