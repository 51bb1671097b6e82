"""The cache of remote catalogues: bounded, shared, told, emptied, safe to lose."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import catalog
from catalog import CatalogError, ShardCorrupt
from catalog.byte_size import parse_bytes
from catalog.remote import cache_bound, open_copy, sparse_file
from catalog.remote import store as store_room
from catalog.remote.cache_folder import mirrors_folder
from catalog.remote.cache_report import empty_cache
from catalog.remote.cached_parts import delete_part, mirrors_in, parts_of
from catalog.remote.open_copy import OPEN
from catalog.remote.spans import remaining_spans
from catalog.remote.sparse_file import SparseFile
from catalog.remote.store import TransferInterrupted
from catalog.storage.manifest import File

ORDER = "true ORDER BY run_id, step"


@pytest.fixture(autouse=True)
def nothing_open():
    """No copy of an earlier test is open, and no bytes are counted."""
    OPEN.let_go()
    cache_bound._added.clear()


def parts():
    return [part for mirror in mirrors_in(mirrors_folder()) for part in parts_of(mirror)]


def copies():
    return [part for part in parts() if part.copy is not None]


def closed():
    """Let go of all copies, as a process does that ends."""
    OPEN.let_go()


def only_web(place):
    """Skip other places: another process would not find them, nor this test their files."""
    if place.kind != "web":
        pytest.skip("the same code")


@pytest.mark.parametrize("text", ["", "0", "-1", "1PB", "GB", "1 000", "nan", "1e9"])
def test_a_wrong_bound_is_refused_before_anything_is_read(monkeypatch, text):
    assert parse_bytes(text) is None
    monkeypatch.setenv("PHASEZOO_CACHE_SIZE", text or " ")
    with pytest.raises(CatalogError, match="PHASEZOO_CACHE_SIZE must be a size"):
        catalog.open("http://127.0.0.1:1/nowhere")


def test_the_least_recently_used_file_goes_and_comes_again(shared, monkeypatch):
    local, place = shared
    there = catalog.open(place.source)
    early, late = "run_id LIKE 'run%' ORDER BY ALL", "run_id LIKE 'late%' ORDER BY ALL"
    there.read_tensor("fc.weight", early)
    (first,) = copies()
    os.utime(first.copy, (1, 1))
    there.read_tensor("fc.weight", late)
    assert len(copies()) == 2
    monkeypatch.setenv("PHASEZOO_CACHE_SIZE", str(sum(part.bytes for part in parts()) - 1))
    cache_bound._added.clear()
    there.read_tensor("mask", late)  # brings bytes in, and so makes room
    assert first.copy not in [part.copy for part in copies()]
    assert len(copies()) == 1  # the other one was being read
    for where in (early, late):
        expected = local.read_tensor("fc.weight", where)
        np.testing.assert_array_equal(there.read_tensor("fc.weight", where), expected)


def test_a_small_bound_holds_however_much_is_read(shared, monkeypatch):
    local, place = shared
    only_web(place)
    monkeypatch.setenv("PHASEZOO_CACHE_SIZE", "1")
    there = catalog.open(place.source)
    for name in ("fc.weight", "mask", "fc.weight"):
        expected = local.read_tensor(name, ORDER)
        np.testing.assert_array_equal(there.read_tensor(name, ORDER), expected)
        assert len(copies()) == 1  # the last one was being read
    reader = reader_of(place)
    expected = local.read_tensor("fc.weight", ORDER).tobytes().hex()
    assert reader.communicate("go\n", timeout=60)[0].split() == ["open", expected]
    assert not copies()  # at its end a process makes room too


def test_what_is_being_read_is_not_deleted(shared):
    local, place = shared
    selection = catalog.open(place.source).select(ORDER)
    expected = local.read_tensor("fc.weight", ORDER)
    reader = selection._readers[0]
    rows = np.arange(2)
    pieces = list(reader.pieces("fc.weight", rows))  # arrays that are mapped files
    assert not delete_part(copies()[0])
    values = np.concatenate([values for _, values in pieces])
    assert values.any()
    del pieces, values
    assert all(map(delete_part, copies()))
    np.testing.assert_array_equal(selection.tensor("fc.weight"), expected)


def test_a_cache_that_is_deleted_by_hand_fills_again(shared, cache):
    local, place = shared
    there = catalog.open(place.source)
    expected = local.read_tensor("fc.weight", ORDER)
    for folder in ("weights", "."):
        there.read_tensor("fc.weight", ORDER)
        shutil.rmtree(mirrors_in(mirrors_folder())[0] / folder)
        np.testing.assert_array_equal(there.read_tensor("fc.weight", ORDER), expected)


def test_a_mirror_in_use_stays_and_another_goes(shared, phasezoo):
    _, place = shared
    there = catalog.open(place.source)
    there.read_tensor("fc.weight")
    code, out, err = phasezoo("cache", "--empty")
    assert (code, "because a process is using them" in err) == (0, True)
    assert not copies()
    assert there.sql("SELECT count(*) FROM tensor_stats").fetchall() != [(0,)]
    del there
    closed()
    code, out, err = phasezoo("cache", "--empty", place.source, "--json")
    assert (code, json.loads(out)["left"]) == (0, 0), err
    assert mirrors_in(mirrors_folder()) == []
    code, _, err = phasezoo("cache", "--empty", place.source)
    assert (code, "holds nothing of" in err) == (1, True)


def test_the_cache_is_told(shared, phasezoo, cache, monkeypatch):
    _, place = shared
    monkeypatch.setenv("PHASEZOO_CACHE_SIZE", "1.5GB")
    assert phasezoo("cache")[1].startswith(f"{cache}: 0 of at most 1,610,612,736 bytes")
    catalog.open(place.source).read_tensor("fc.weight")
    closed()
    value = json.loads(phasezoo("cache", "--json")[1])
    (row,) = value["addresses"]
    assert row["address"] == place.source
    assert value["bytes"] == row["weights"] + row["metadata"]
    on_disk = [p.lstat().st_blocks * 512 for p in cache.rglob("*") if p.is_file()]
    assert value["bytes"] == sum(on_disk)
    assert (value["bound"], value["folder"]) == (3 << 29, str(cache))
    table = phasezoo("cache")[1]
    assert place.source in table
    assert row["last_used"] in table


def test_holes_take_no_room(tmp_path):
    mirror = tmp_path / ("0" * 16)
    path = mirror / "weights" / "a" / "b.parquet"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(1 << 30)
    assert sum(part.bytes for part in parts_of(mirror)) < 1 << 20


@pytest.mark.parametrize("keep", [1, 3, 4, 8])
def test_emptying_may_end_anywhere(shared, monkeypatch, keep):
    """A process that is killed while it empties leaves what opens again."""
    local, place = shared
    catalog.open(place.source).read_tensor("fc.weight")
    closed()
    count = 0
    unlink = Path.unlink

    def ends(path, **options):
        nonlocal count
        count += 1
        if count > keep:
            raise KeyboardInterrupt
        unlink(path, **options)

    every = parts()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", ends)
        with pytest.raises(KeyboardInterrupt):
            list(map(delete_part, every))
    with pytest.raises(CatalogError, match="not in the cache"):
        catalog.open(place.source, offline=True).read_tensor("fc.weight", ORDER)
    closed()
    there = catalog.open(place.source)
    expected = local.read_tensor("fc.weight", ORDER)
    np.testing.assert_array_equal(there.read_tensor("fc.weight", ORDER), expected)


READ = """
import sys, numpy as np, catalog
there = catalog.open(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
values = there.read_tensor("fc.weight", "true ORDER BY run_id, step")
print(values.tobytes().hex(), flush=True)
"""


def reader_of(place):
    return subprocess.Popen(
        [sys.executable, "-c", READ, place.source],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_processes_read_each_range_once(shared):
    local, place = shared
    only_web(place)
    expected = local.read_tensor("fc.weight", ORDER).tobytes().hex()
    readers = [reader_of(place) for _ in range(2)]
    for reader in readers:
        assert reader.stdout.readline() == "open\n"
    for reader in readers:  # both are waiting, and go at once
        reader.stdin.write("go\n")
        reader.stdin.flush()
    for reader in readers:
        assert reader.communicate(timeout=60)[0].strip() == expected
    first = place.traffic.sent["weights"]
    shards = {request.path for request in place.traffic.matching("*/weights/*")}
    assert len(place.traffic.matching("*/weights/*")) == len(shards) == 2
    catalog.open(place.source).read_tensor("fc.weight")
    assert place.traffic.sent["weights"] == first


def test_what_a_killed_process_was_writing_is_read_again(shared):
    """It is killed after bytes were written, and before the list says so."""
    local, place = shared
    only_web(place)
    reader = reader_of(place)
    reader.stdout.readline()

    def kill(request):
        if "/weights/" in request.path and reader.poll() is None:
            reader.send_signal(signal.SIGKILL)
            reader.wait(60)

    place.traffic.before.append(kill)
    reader.stdin.write("go\n")
    reader.stdin.flush()
    assert reader.wait(60) == -signal.SIGKILL
    reader.stdin.close()
    reader.stdout.close()
    # Wrong bytes where the range was to be: nobody may believe them.
    for part in copies():
        size = part.copy.stat().st_size
        with part.copy.open("r+b") as file:
            file.write(b"\xff" * size)
    there = catalog.open(place.source)
    expected = local.read_tensor("fc.weight", ORDER)
    np.testing.assert_array_equal(there.read_tensor("fc.weight", ORDER), expected)


LOOP = """
import sys, catalog
there = catalog.open(sys.argv[1])
for i in range(40):
    name = ("fc.weight", "mask")[i % 2]
    values = there.read_tensor(name, "true ORDER BY run_id, step")
    assert values.tobytes().hex() == sys.argv[2 + i % 2], (i, name)
"""


def test_processes_read_right_values_while_another_empties_the_cache(shared):
    local, place = shared
    only_web(place)
    expected = [local.read_tensor(n, ORDER).tobytes().hex() for n in ("fc.weight", "mask")]
    readers = [
        subprocess.Popen([sys.executable, "-c", LOOP, place.source, *expected])
        for _ in range(2)
    ]
    emptied = 0
    while any(reader.poll() is None for reader in readers):
        emptied += empty_cache()[0] > 0
        time.sleep(0.005)
    assert [reader.returncode for reader in readers] == [0, 0]
    assert emptied > 1  # also while they read


def test_a_catalogue_serves_threads(shared):
    local, place = shared
    there = catalog.open(place.source)
    names = [p.name for p in there.layout(there.select().table["arch_id"][0].as_py())]
    expected = {name: local.read_tensor(name, ORDER) for name in names}

    def read(i):
        name = names[i % len(names)]
        return name, there.read_tensor(name, ORDER)

    with ThreadPoolExecutor(8) as pool:
        for name, values in pool.map(read, range(48)):
            assert values.tobytes() == expected[name].tobytes()
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(there.select(ORDER).__getitem__, list(range(9)) * 4))
    for i, row in enumerate(rows):
        assert row["fc.bias"].tobytes() == expected["fc.bias"][i % 9].tobytes()


def damage(name="fc.weight"):
    """Flip bits of all bytes that have arrived."""
    for part in copies():
        listing = json.loads(part.copy.with_suffix(".ranges").read_text())
        with part.copy.open("r+b") as file:
            for start, stop in listing["ranges"]:
                file.seek(start)
                data = file.read(stop - start)
                file.seek(start)
                file.write(bytes(byte ^ 1 for byte in data))


def test_what_is_damaged_in_the_cache_is_downloaded_again(shared):
    _, place = shared
    there = catalog.open(place.source)
    expected = there.load(ORDER, lossy=True, verify=True).weights
    damage()
    closed()
    assert there.load(ORDER, lossy=True).weights.tobytes() != expected.tobytes()
    again = there.load(ORDER, lossy=True, verify=True).weights
    assert again.tobytes() == expected.tobytes()
    assert there.load(ORDER, lossy=True).weights.tobytes() == expected.tobytes()
    damage()
    with pytest.raises(ShardCorrupt, match=r"damaged in the cache.*without --offline"):
        catalog.open(place.source, offline=True).load(ORDER, lossy=True, verify=True)


def test_what_is_damaged_at_the_source_is_refused_by_name(shared):
    _, place = shared
    only_web(place)
    for path in Path(place.destination).glob("weights/*/*.parquet"):
        data = bytearray(path.read_bytes())
        data[: len(data) // 2] = bytes(byte ^ 1 for byte in data[: len(data) // 2])
        path.write_bytes(data)
    there = catalog.open(place.source)
    with pytest.raises(
        ShardCorrupt, match=r"row \d+, tensor '.*' differs.*downloaded twice"
    ):
        there.load(ORDER, lossy=True, verify=True)


def test_links_in_the_cache_are_refused(shared, cache, tmp_path):
    _, place = shared
    victim = tmp_path / "victim"
    there = catalog.open(place.source)
    there.read_tensor("fc.weight")
    closed()
    copy = copies()[0].copy
    for suffix in (".parquet", ".ranges", ".ranges.tmp", ".lock"):
        victim.write_text("mine")
        path = copy.with_suffix(suffix)
        path.unlink(missing_ok=True)
        path.symlink_to(victim)
        try:
            there.load(lossy=True)
        except CatalogError:
            path.unlink()
        closed()
        assert victim.read_text() == "mine"
    (mirror,) = mirrors_in(mirrors_folder())
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "weights" / "empty").mkdir(parents=True)
    (elsewhere / "address").write_text("x")
    shutil.rmtree(mirror)
    mirror.symlink_to(elsewhere)
    with pytest.raises(CatalogError, match="leads out"):
        catalog.open(place.source)
    assert mirrors_in(mirrors_folder()) == []
    mirror.unlink()
    mirror.mkdir()
    (mirror / "weights").symlink_to(elsewhere / "weights")
    for part in parts_of(mirror):
        delete_part(part)
    assert (elsewhere / "weights" / "empty").is_dir()


def test_a_cache_that_cannot_be_written_is_an_error(shared, monkeypatch, tmp_path):
    _, place = shared
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PHASEZOO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CatalogError, match="PHASEZOO_CACHE"):
        catalog.open(place.source)


def test_offline_needs_no_right_to_write(shared, monkeypatch):
    _, place = shared
    expected = catalog.open(place.source).read_tensor("fc.weight")
    closed()
    opened = os.open

    def reads_only(path, flags, *rest, **options):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise PermissionError(13, "Read-only file system", str(path))
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", reads_only)
    there = catalog.open(place.source, offline=True)
    np.testing.assert_array_equal(there.read_tensor("fc.weight"), expected)


class Bytes:
    """A store of one file, whose streams do as they are told."""

    address = "memory"

    def __init__(self, data, stream=None):
        self.data, self.asked = data, []
        self.give = stream or (lambda start, stop: iter([self.data[start:stop]]))

    def stream(self, path, start, stop):
        self.asked.append((start, stop))
        return self.give(start, stop)


@pytest.fixture
def remote(tmp_path):
    data = np.random.default_rng(0).bytes(1 << 20)
    (tmp_path / "mirror" / "weights" / "a").mkdir(parents=True)
    return Bytes(data), File("weights/a/b.parquet", len(data), "0" * 64, 1)


def test_a_full_disk_leaves_no_hole_that_counts(remote, tmp_path, monkeypatch):
    store, file = remote
    sparse = SparseFile(store, file, tmp_path / "mirror")
    written = os.pwrite

    def nearly_full(descriptor, block, at):
        if at >= 600_000:
            raise OSError(28, "No space left on device")
        return written(descriptor, bytes(block)[:1000], at)  # part of it, as on full disks

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", nearly_full)
        with pytest.raises(CatalogError, match="phasezoo cache --empty"):
            sparse.need([(0, len(store.data))])
        sparse.need([(0, 500_000)])
    assert sparse.path.read_bytes()[:500_000] == store.data[:500_000]
    closed()
    again = SparseFile(store, file, tmp_path / "mirror")
    again.need([(0, len(store.data))])
    assert again.path.read_bytes() == store.data


def test_a_stream_that_gives_nothing_ends(remote, tmp_path):
    store, file = remote
    store.give = lambda start, stop: iter([])
    with pytest.raises(TransferInterrupted, match="bytes before its end"):
        SparseFile(store, file, tmp_path / "mirror").need([(0, 10)])
    assert len(store.asked) == store_room.ATTEMPTS


def test_more_than_was_asked_for_is_not_written(remote, tmp_path):
    store, file = remote
    store.give = lambda start, stop: iter([store.data[start:stop] + b"x" * 1000])
    sparse = SparseFile(store, file, tmp_path / "mirror")
    sparse.need([(0, 10)])
    assert not any(sparse.path.read_bytes()[10:2000])


def test_what_arrived_before_an_error_is_kept(remote, tmp_path, monkeypatch):
    store, file = remote
    monkeypatch.setattr(sparse_file, "LARGEST_PART", 1 << 16)
    monkeypatch.setattr(sparse_file, "THREADS", 1)

    def give(start, stop):
        if start >= 1 << 19:
            raise CatalogError("gone")
        yield store.data[start:stop]

    store.give = give
    sparse = SparseFile(store, file, tmp_path / "mirror")
    with pytest.raises(CatalogError, match="gone"):
        sparse.need([(0, 1 << 20)])
    closed()
    store.asked.clear()
    SparseFile(store, file, tmp_path / "mirror").need([(0, 1 << 19)])
    assert store.asked == []


def test_another_file_of_the_same_path_is_another_copy(remote, tmp_path):
    store, file = remote
    first = SparseFile(store, file, tmp_path / "mirror")
    first.need([(0, 1000)])
    other = Bytes(bytes(reversed(store.data)))
    second = SparseFile(
        other, File(file.path, file.bytes, "1" * 64, 1), tmp_path / "mirror"
    )
    second.need([(0, 1000)])
    assert second.path.read_bytes()[:1000] == other.data[:1000]
    first.need([(0, 1000)])
    assert first.path.read_bytes()[:1000] == store.data[:1000]


def test_few_copies_stay_open(remote, tmp_path):
    store, file = remote
    before = len(os.listdir("/proc/self/fd"))
    for i in range(3 * open_copy.MOST_OPEN):
        name = File(f"weights/a/{i}.parquet", file.bytes, file.sha256, 1)
        SparseFile(store, name, tmp_path / "mirror").need([(0, 10)])
    assert len(os.listdir("/proc/self/fd")) <= before + open_copy.MOST_OPEN


def test_copies_of_a_forked_process_are_its_own(remote, tmp_path):
    store, file = remote
    sparse = SparseFile(store, file, tmp_path / "mirror")
    opened = sparse.opened([(0, 10)])
    child = os.fork()
    if not child:
        closed()
        os._exit(0)
    os.waitpid(child, 0)
    with sparse.path.open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the parent still has it
    del opened


def test_many_ranges_are_compared_in_order():
    known = [(4 * i, 4 * i + 2) for i in range(50_000)]
    spans = [(4 * i + 1, 4 * i + 3) for i in range(50_000)]
    start = time.process_time()
    assert remaining_spans(spans, known)[:2] == [(2, 3), (6, 7)]
    assert time.process_time() - start < 10  # each with each would take minutes
