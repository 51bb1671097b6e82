"""Reading and writing safetensors, against the library's own numpy interface."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import CatalogError, Population
from catalog.formats.format import Tensor
from catalog.formats.safetensors_file import read_header, read_tensors, write_file


def blob(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@given(population=..., text=st.text())
def test_written_files_are_read_bit_for_bit(
    tmp_path_factory: Any, population: Population, text: str
) -> None:
    kinds = {p.name: p.dtype for p in population.layout}
    if "complex128" in kinds.values() or "__metadata__" in kinds:
        return
    state = {k: Tensor(v, kinds[k]) for k, v in population.state_dict(0).items()}
    path = tmp_path_factory.mktemp("st") / "x.safetensors"
    with path.open("wb") as file:
        write_file(file, state, {"note": text})
    assert read_header(path).metadata == {"note": text}
    back = read_tensors(path)
    assert set(back) == set(state)
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype
        assert back[name].values.shape == tensor.values.shape
        assert back[name].values.dtype == tensor.values.dtype
        assert back[name].values.tobytes() == tensor.values.tobytes()
        assert back[name].values.flags.aligned


def test_the_library_reads_what_we_write_and_we_what_it_writes(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    arrays = {
        "u8": np.arange(3, dtype=np.uint8),
        "f64": np.arange(4.0).reshape(2, 2),
        "scalar": np.array(7, np.int64),
        "empty": np.zeros((0, 3), np.float32),
        "bool": np.array([True, False]),
    }
    ours = io.BytesIO()
    write_file(ours, {k: Tensor(v, str(v.dtype)) for k, v in arrays.items()}, {"a": "b"})
    library.save_file(arrays, tmp_path / "theirs.safetensors", {"a": "b"})
    theirs = read_tensors(tmp_path / "theirs.safetensors")
    for name, back in library.load(ours.getvalue()).items():
        np.testing.assert_array_equal(back, arrays[name], strict=True)
        np.testing.assert_array_equal(theirs[name].values, arrays[name], strict=True)
    assert read_header(tmp_path / "theirs.safetensors").metadata == {"a": "b"}


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BROKEN: dict[str, bytes] = {
    "empty": b"",
    "pointer": b"version https://git-lfs.github.com/spec/v1\n",
    "huge header": (1 << 60).to_bytes(8, "little") + b"{}",
    "no JSON": blob(b"{]"),
    "deep": blob(b"[" * 100_000),
    "list": blob([1]),
    "metadata": blob({"__metadata__": {"a": 1}}),
    "no offsets": blob({"a": {"dtype": "F32", "shape": [2]}}),
    "dtype": blob({"a": {**F32, "dtype": "F31"}}, bytes(8)),
    "negative": blob({"a": {**F32, "shape": [-2]}}, bytes(8)),
    "shape": blob({"a": {**F32, "shape": [3]}}, bytes(8)),
    "float shape": blob({"a": {**F32, "shape": [2.0]}}, bytes(8)),
    "hole": blob({"a": {**F32, "data_offsets": [4, 12]}}, bytes(12)),
    "overlap": blob({"a": F32, "b": F32}, bytes(8)),
    "truncated": blob({"a": F32}, bytes(7)),
    "behind": blob({"a": F32}, bytes(9)),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, case: str) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(BROKEN[case])
    for read in (read_header, read_tensors):
        with pytest.raises(CatalogError, match=r"odd\.safetensors is not a readable"):
            read(path)


def test_a_dtype_that_no_catalogue_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(blob({"a": {**F32, "dtype": "F8_E4M3", "shape": [8]}}, bytes(8)))
    with pytest.raises(CatalogError, match=r"odd\.safetensors: tensor 'a' is F8_E4M3"):
        read_tensors(path)


def test_the_case_above_is_sound_when_mended(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(blob({"a": F32}, bytes(8)))
    assert read_tensors(path)["a"].values.tolist() == [0, 0]


def test_what_the_format_cannot_hold_is_refused() -> None:
    wide = Tensor(np.zeros(1, np.complex128), "complex128")
    with pytest.raises(CatalogError, match=r"cannot hold tensor 'a' \(complex128\)"):
        write_file(io.BytesIO(), {"a": wide}, {})
    with pytest.raises(CatalogError, match="cannot hold tensor '__metadata__'"):
        write_file(io.BytesIO(), {"__metadata__": Tensor(np.zeros(1), "float64")}, {})


def test_an_empty_tensor_of_an_impossible_length_is_refused(tmp_path: Path) -> None:
    shape = [0, 1 << 62]
    header = {"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(CatalogError, match="not a readable safetensors file"):
        dict(read_tensors(path))
