"""A remote catalogue reads as a local one does, and moves only what is read."""

import json
import os
import pickle

import numpy as np
import pytest

import catalog
from catalog import CatalogError
from catalog.remote.publish import Publish
from catalog.remote.sparse_file import merged_spans, remaining_spans


@pytest.fixture
def published(zoo, networks, small_layout, commit, measure, every_place):
    commit(zoo, networks(small_layout, 4, seed=3, prefix="late"))
    measure(zoo, [{"run_id": "run-0", "step": 0, "sharpness": 2.5}])
    Publish(zoo.refreshed(), every_place.destination, license="mit").run()
    return zoo.refreshed(), every_place


QUERIES = (
    "SELECT run_id, step, zoo FROM models ORDER BY ALL",
    "SELECT count(*) FROM tensor_stats",
    "SELECT run_id, sharpness FROM models WHERE sharpness IS NOT NULL",
    "SHOW TABLES",
)


def test_it_reads_as_a_local_one(published):
    local, place = published
    there = catalog.open(place.source)
    for query in QUERIES:
        assert there.sql(query).fetchall() == local.sql(query).fetchall()
    for where in ("true ORDER BY run_id, step", "run_id LIKE 'late%' ORDER BY step DESC"):
        ours, theirs = (z.load(where, lossy=True, verify=True) for z in (local, there))
        np.testing.assert_array_equal(
            ours.weights.view(np.uint32), theirs.weights.view(np.uint32)
        )
        for name in ("fc.bias", "mask", "unused", "bn.num_batches_tracked"):
            a, b = (z.read_tensor(name, where) for z in (local, there))
            np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


def test_only_what_is_read_is_moved_and_only_once(published):
    _, place = published
    there = catalog.open(place.source)
    assert place.traffic.sent["weights"] == 0
    there.read_tensor("fc.weight")
    first = place.traffic.sent["weights"]
    assert 0 < first < 4096
    there.read_tensor("fc.weight")
    catalog.open(place.source).read_tensor("fc.weight", "run_id = 'run-1'")
    assert place.traffic.sent["weights"] == first


def test_it_works_offline_from_what_was_read(published, monkeypatch):
    _, place = published
    there = catalog.open(place.source)
    expected = there.read_tensor("fc.weight")
    monkeypatch.setenv("PHASEZOO_OFFLINE", "1")
    place.traffic.clear()
    again = catalog.open(place.source)
    np.testing.assert_array_equal(again.read_tensor("fc.weight"), expected)
    assert not place.traffic.requests


def test_offline_may_be_asked_for_by_a_call_or_a_command(published, phasezoo):
    _, place = published
    expected = catalog.open(place.source).read_tensor("fc.weight")
    place.traffic.clear()
    again = catalog.open(place.source, offline=True)
    np.testing.assert_array_equal(again.read_tensor("fc.weight"), expected)
    np.testing.assert_array_equal(again.refreshed().read_tensor("fc.weight"), expected)
    with pytest.raises(CatalogError, match=r"bytes of .* are not in the cache"):
        again.load(lossy=True)
    query = ("sql", "SELECT count(*) AS n FROM models", "--json")
    code, out, err = phasezoo(*query, "--catalog", place.source, "--offline")
    assert (code, json.loads(out)) == (0, [{"n": 9}]), err
    assert not place.traffic.requests
    assert "PHASEZOO_OFFLINE" not in os.environ
    code, _, err = phasezoo(*query, "--catalog", f"{place.source}x", "--offline")
    assert (code, "is not in the cache" in err) == (1, True)
    assert not place.traffic.requests


def test_selections_go_to_other_processes(published):
    local, place = published
    selection = catalog.open(place.source).select("true ORDER BY run_id, step")
    expected = local.read_tensor("fc.weight", "true ORDER BY run_id, step")
    for copy in (pickle.loads(pickle.dumps(selection)), selection.reopened()):  # noqa: S301
        np.testing.assert_array_equal(copy.tensor("fc.weight"), expected)


def test_a_catalogue_goes_to_other_processes(published):
    local, place = published
    there = catalog.open(place.source)
    expected = local.read_tensor("fc.weight", "true ORDER BY run_id, step")
    there.read_tensor("fc.weight")  # it has connections and open files by now
    again = pickle.loads(pickle.dumps(there))  # noqa: S301
    assert again.version == there.version
    np.testing.assert_array_equal(
        again.read_tensor("fc.weight", "true ORDER BY run_id, step"), expected
    )


def test_what_is_not_in_the_cache_is_an_error_offline(published, monkeypatch):
    _, place = published
    monkeypatch.setenv("PHASEZOO_OFFLINE", "1")
    with pytest.raises(CatalogError, match="PHASEZOO_OFFLINE"):
        catalog.open(place.source)


def test_nothing_is_written_to_a_remote(published):
    _, place = published
    there = catalog.open(place.source)
    with pytest.raises(CatalogError, match="phasezoo fetch"):
        there.writer()
    with pytest.raises(CatalogError, match="remote"):
        catalog.open(place.source, create=True)


def test_versions_stay_readable(published, networks, small_layout, commit):
    local, place = published
    there = catalog.open(place.source)
    commit(local, networks(small_layout, 2, seed=8, prefix="later"))
    Publish(local.refreshed(), place.destination, license="mit").run()
    count = "SELECT count(*) FROM models"
    assert there.sql(count).fetchall() == [(9,)]
    assert there.refreshed().sql(count).fetchall() == [(11,)]
    assert catalog.open(place.source, at=there.version).sql(count).fetchall() == [(9,)]


def test_ranges_are_sets():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sets, spans = [], []
        for _ in range(2):
            starts = rng.integers(0, 60, rng.integers(0, 6))
            spans.append([(int(s), int(s + rng.integers(0, 9))) for s in starts])
            sets.append({i for a, b in spans[-1] for i in range(a, b)})
        flat = [{i for a, b in merged_spans(s) for i in range(a, b)} for s in spans]
        assert flat == sets
        assert merged_spans(spans[0]) == sorted(merged_spans(spans[0]))
        left = remaining_spans(merged_spans(spans[0]), merged_spans(spans[1]))
        assert {i for a, b in left for i in range(a, b)} == sets[0] - sets[1]


def test_a_snapshot_of_links_into_blobs_opens(zoo, tmp_path):
    """As huggingface-hub keeps what it downloads."""
    repository = tmp_path / "datasets--a--b"
    snapshot = repository / "snapshots" / ("0" * 40)
    for i, path in enumerate(p for p in zoo.root.rglob("*") if p.is_file()):
        link = snapshot / path.relative_to(zoo.root)
        blob = repository / "blobs" / f"{i:040x}"
        for parent in (link.parent, blob.parent):
            parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(path.read_bytes())
        link.symlink_to(os.path.relpath(blob, link.parent))
    there = catalog.open(snapshot)
    np.testing.assert_array_equal(there.read_tensor("fc.bias"), zoo.read_tensor("fc.bias"))
    outside = tmp_path / "outside.parquet"
    link = next((snapshot / "weights").rglob("*.parquet"))
    outside.write_bytes(link.read_bytes())
    link.unlink()
    link.symlink_to(outside)
    with pytest.raises(CatalogError, match="leads out"):
        catalog.open(snapshot).read_tensor("fc.bias")


def test_the_commands_that_read_take_an_address(published, phasezoo, tmp_path):
    _, place = published
    if place.kind != "web":
        pytest.skip("the same code")
    at = ["--catalog", place.source]
    code, out, err = phasezoo("sql", "SELECT count(*) AS n FROM models", "--json", *at)
    assert (code, json.loads(out)) == (0, [{"n": 9}]), err
    for command in (
        ("show", "zoo"),
        ("schema",),
        ("report", "--to", str(tmp_path / "report.html")),
        ("export", "run-1", "--to", str(tmp_path / "one.safetensors")),
    ):
        code, _, err = phasezoo(*command, *at)
        assert code == 0, (command, err)
    for command in (("rm", "true", "--yes"), ("gc",), ("compact",), ("verify",)):
        code, _, err = phasezoo(*command, *at)
        assert code == 1, command
        assert "fetch" in err or "no catalogue" in err, (command, err)


def test_what_was_fetched_in_part_is_listed_so(published, phasezoo, tmp_path):
    _, place = published
    if place.kind != "web":
        pytest.skip("the same code")
    part = ["--tensors", "fc.weight", "--where", "run_id LIKE 'late%'"]
    assert phasezoo("fetch", place.source, *part, "--catalog", tmp_path / "part")[0] == 0
    (row,) = json.loads(phasezoo("ls", "--catalog", tmp_path / "part", "--json")[1])["zoos"]
    assert (row["checkpoints"], row["partial"], row["bytes"]) == (4, 4, 4 * 4 * 3 * 4)
    out = phasezoo("ls", "--catalog", tmp_path / "part")[1]
    assert "partial" in out.splitlines()[0]
    whole = phasezoo("ls", "--catalog", place.source)[1]
    assert "partial" not in whole
    assert "9 checkpoints" in whole.splitlines()[-1]
