"""The container of fitted things: no changed byte is ever read as if it were whole."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import CatalogError, ShardCorrupt
from catalog.fitted.file import VERSION, Kind, check
from catalog.formats.format import Tensor
from catalog.formats.safetensors_file import read_header, write_file

KIND = Kind("mean", "mean", 2, "Write one with save().")
VALUES = np.float32([1, -2])
TENSORS = {"m": Tensor(VALUES, "float32"), "n": Tensor(np.int64([[7]]), "int64")}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that each test may change: they begin with `whole`."""
    return tmp_path_factory.mktemp("fitted") / "mean.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "mean.safetensors"
    KIND.write(path, {"n": 3, "text": "é\ud800"}, TENSORS)
    return path.read_bytes()


def as_before(path: Path, body: object) -> Path:
    """A file without version, kind and digest."""
    with path.open("wb") as file:
        write_file(file, TENSORS, {"mean": json.dumps(body)})
    return path


def test_what_is_written_is_read(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)
    body, tensors = KIND.read(path)
    assert body == {"format": 2, "n": 3, "text": "é\ud800"} == KIND.body(path)
    assert {name: v.tolist() for name, v in tensors.items()} == {"m": [1, -2], "n": [[7]]}
    assert check(path)
    assert not path.stat().st_mode & 0o111


def test_the_digest_is_what_the_format_says(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)
    metadata = read_header(path).metadata
    digest = metadata["digest"]
    assert (metadata["phasezoo.container"], metadata["phasezoo.kind"]) == ("1", "mean")
    assert whole[8:].startswith(b'{"__metadata__":{"digest":"' + digest.encode())
    blank = whole.replace(digest.encode(), b"0" * 64, 1)
    assert hashlib.sha256(blank).hexdigest() == digest


def refused(path: Path) -> None:
    for read in (KIND.read, check):
        with pytest.raises(CatalogError) as told:
            read(path)
        assert str(path) in str(told.value)


def test_a_flipped_bit_of_every_byte_is_refused(path: Path, whole: bytes) -> None:
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        refused(path)


@given(st.data())
def test_every_other_byte_or_length_is_refused(
    path: Path, whole: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    cut = data.draw(st.sampled_from([whole[:at], whole + whole[:at] + b"x"]))
    for changed in (whole[:at] + bytes([byte]) + whole[at + 1 :], cut):
        path.write_bytes(changed)
        refused(path)


@given(st.data())
def test_without_a_digest_a_file_is_read_or_refused_by_name(
    path: Path, data: st.DataObject
) -> None:
    before = as_before(path, {"format": 1, "n": 3}).read_bytes()
    assert KIND.read(path)[0] == {"format": 1, "n": 3}
    assert not check(path)
    at = data.draw(st.integers(0, len(before) - 1))
    byte = bytes([data.draw(st.integers(0, 255))])
    path.write_bytes(before[:at] + byte + before[at + 1 :])
    told = str(path)
    try:
        KIND.read(path)
    except CatalogError as error:
        told = str(error)
    assert str(path) in told


def test_damage_tells_what_to_paste(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "a b.safetensors"
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    told = f'has changed since it was written: .* delete it and fit again: rm "{path}"'
    with pytest.raises(ShardCorrupt, match=told):
        KIND.read(path)


def test_another_kind_is_told(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)
    other = Kind("median", "median", 1, "Write one with keep().")
    told = f"{path} holds no median but is of kind 'mean'. Write one with keep()."
    for read in (other.read, other.body):
        with pytest.raises(CatalogError, match=re.escape(told)):
            read(path)
    as_before(path, {"format": 1})
    with pytest.raises(CatalogError, match=r"holds no median\. Write one with keep"):
        other.read(path)


def test_newer_files_are_refused_with_what_to_do(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "was written by a newer version. Upgrade: pip install -U phasezoo"
    Kind("mean", "mean", 3, "").write(path, {}, TENSORS)
    with pytest.raises(CatalogError, match=told):
        KIND.read(path)
    monkeypatch.setattr("catalog.fitted.file.VERSION", VERSION + 1)
    KIND.write(path, {}, TENSORS)
    assert KIND.read(path)[0] == {"format": 2}
    monkeypatch.undo()
    assert check(path)  # its digest is where it always is
    with pytest.raises(CatalogError, match=told):
        KIND.read(path)


@pytest.mark.parametrize("body", [[], 5, None, "x", {}, {"format": "x"}, {"format": None}])
def test_other_content_is_refused(path: Path, body: object) -> None:
    as_before(path, body)
    with pytest.raises(ShardCorrupt, match="is damaged, or not a mean"):
        KIND.read(path)


def test_what_cannot_be_written_leaves_the_file_before(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)
    wide = {"m": Tensor(np.zeros(2, np.complex128), "complex128")}
    with pytest.raises(CatalogError, match="safetensors cannot hold tensor 'm'"):
        KIND.write(path, {}, wide)
    with pytest.raises(TypeError):
        KIND.write(path, {"n": object()}, TENSORS)
    assert path.read_bytes() == whole


DOOMED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from catalog.fitted.file import Kind
from catalog.formats.format import Tensor

if sys.argv[2] == "renamed":
    os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
else:
    import catalog.fitted.file as own
    blocks, told = own.file_blocks, []
    def doomed(tensors, metadata):
        told.append(metadata)
        for number, block in enumerate(blocks(tensors, metadata)):
            yield block
            if len(told) == 2 and number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
    own.file_blocks = doomed
large = Tensor(np.ones(1 << 18), "float64")
Kind("mean", "mean", 2, "").write(Path(sys.argv[1]), {}, {"m": large, "n": large})
"""


@pytest.mark.parametrize("step", ["renamed", "written"])
def test_killed_while_writing_the_file_before_is_there(
    tmp_path: Path, whole: bytes, step: str
) -> None:
    path = tmp_path / "mean.safetensors"
    path.write_bytes(whole)
    done = subprocess.run([sys.executable, "-c", DOOMED, str(path), step], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == whole
    (left,) = (p for p in tmp_path.iterdir() if p != path)
    assert re.fullmatch(r"\.mean\.safetensors\.[0-9a-f]{8}\.tmp", left.name)
    KIND.write(path, {"n": 4}, TENSORS)
    assert KIND.body(path)["n"] == 4
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("digest", ["ours", "earlier"])
def test_a_digest_is_taken_in_little_memory(path: Path, digest: str) -> None:
    large = {"m": Tensor(np.ones(1 << 22), "float64")}
    if digest == "ours":
        KIND.write(path, {}, large)
    else:
        with path.open("wb") as file:
            write_file(file, large, {"generator": "{}", "digest": "x"})
    tracemalloc.start()
    try:
        with suppress(ShardCorrupt):
            check(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
