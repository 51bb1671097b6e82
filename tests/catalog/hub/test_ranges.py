"""Tensors by ranges are those of the whole file, whatever the requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.formats.format import Tensor
from catalog.formats.safetensors_file import file_blocks, read_tensors
from catalog.hub import ranges
from catalog.remote.http_store import HttpStore


class Held:
    """A store of one file that gives its bytes in small pieces."""

    address = "hf://lab/m"

    def __init__(self, content: bytes) -> None:
        self.content, self.given = content, 0

    def beginning(self, path: str, count: int) -> tuple[bytes, int]:
        self.given += min(count, len(self.content))
        return self.content[:count], len(self.content)

    def stream(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        assert 0 <= start < stop <= len(self.content)
        self.given += stop - start
        for at in range(start, stop, 7):
            yield self.content[at : min(stop, at + 7)]


KINDS = ("float32", "uint8", "int64", "float16")
SIZES = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(KINDS)), max_size=8)


@given(sizes=SIZES, beginning=st.sampled_from([8, 50, 600, 1 << 20]), data=st.data())
@pytest.mark.parametrize("gap", [0, 30])
def test_ranges_give_the_tensors_of_the_file(
    tmp_path_factory: Any, gap: int, sizes: Any, beginning: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(0)
    tensors = {
        f"t{i}": Tensor(rng.integers(0, 9, size).astype(kind), kind)
        for i, (size, kind) in enumerate(sizes)
    }
    content = b"".join(file_blocks(tensors, {}))
    path: Path = tmp_path_factory.mktemp("st") / "x.safetensors"
    path.write_bytes(content)
    expected = read_tensors(path)
    names = data.draw(st.permutations(list(tensors)).map(lambda n: n[: len(n) // 2 + 1]))
    store = Held(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "BEGINNING", beginning)
        patch.setattr(ranges, "JOINED", gap)
        remote = ranges.remote_tensors(cast(HttpStore, store), "x.safetensors")
        got = remote.read(names, lambda count: None)
    assert list(got) == list(names)
    for name, tensor in got.items():
        assert tensor.dtype == expected[name].dtype
        assert tensor.values.tobytes() == expected[name].values.tobytes()
        assert tensor.values.shape == expected[name].values.shape
        assert tensor.values.flags.aligned
    if gap == 0:  # header, beginning and values, and no byte twice
        end = int.from_bytes(content[:8], "little") + 8
        assert store.given <= max(end, min(beginning, len(content))) + remote.bytes_of(
            names
        )


def test_the_estimate_of_a_header_is_enough() -> None:
    wide = {
        "weight" * 5 + f".{i}": Tensor(np.zeros((1, 1, 1, 1)), "float64") for i in range(99)
    }
    content = b"".join(file_blocks(wide, {"format": "pt"}))
    end = int.from_bytes(content[:8], "little") + 8
    assert end <= ranges._estimate(list(wide)) <= 2 * end
