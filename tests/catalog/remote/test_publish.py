"""Publishing joins: nothing is lost on either side, and readers see all or nothing."""

from pathlib import Path

import pytest

import catalog
from catalog import Catalog, CatalogError
from catalog.remote.fetch import Fetch
from catalog.remote.publish import Publish
from catalog.upkeep.compaction import compact
from catalog.upkeep.garbage import collect
from catalog.upkeep.removal import remove
from catalog.upkeep.verify import verify


def publish(zoo: Catalog, destination: Path, **options):
    return Publish(zoo.refreshed(), str(destination), license="mit", **options).run()


def fetch(source: Path, root: Path, **options) -> Catalog:
    Fetch(str(source), root, **options).run()
    return catalog.open(root)


def test_a_round_trip_gives_the_same_catalogue(zoo, measure, tmp_path, contents):
    measure(zoo, [{"run_id": "run-0", "step": 0, "sharpness": 2.5}])
    done = publish(zoo, tmp_path / "there")
    assert done.changed
    names = [path.name for path in (tmp_path / "there" / "checkpoints").iterdir()]
    assert len(names) == 1
    assert names[0] not in [path.name for path in (zoo.root / "checkpoints").iterdir()]
    assert (done.shards, done.withdrawn) == (1, 0)
    here = fetch(tmp_path / "there", tmp_path / "here")
    assert contents(here) == contents(zoo)
    query = "SELECT run_id, step, sharpness FROM models ORDER BY ALL"
    assert here.sql(query).fetchall() == zoo.refreshed().sql(query).fetchall()
    for root in (tmp_path / "there", tmp_path / "here"):
        assert not verify(root).problems


def test_nothing_moves_the_second_time(zoo, tmp_path, files):
    publish(zoo, tmp_path / "there")
    before = files(tmp_path / "there")
    done = publish(zoo, tmp_path / "there")
    assert not done.changed
    assert (done.files, done.bytes) == (0, 0)
    assert files(tmp_path / "there") == before
    fetch(tmp_path / "there", tmp_path / "here")
    plan = Fetch(str(tmp_path / "there"), tmp_path / "here").plan
    assert (plan.files, plan.bytes) == ((), 0)


def test_a_dry_run_changes_nothing(zoo, tmp_path, files):
    before = files(zoo.root)
    plan = Publish(zoo, str(tmp_path / "there"), license="mit").plan()
    assert plan.files > 1
    assert not (tmp_path / "there").exists()
    assert files(zoo.root) == before


def test_publishing_adds_to_what_is_there(
    zoo, new_zoo, networks, small_layout, commit, tmp_path, contents
):
    other = new_zoo()
    commit(other, networks(small_layout, 3, seed=1, prefix="other"))
    publish(other, tmp_path / "there")
    publish(zoo, tmp_path / "there")
    both = catalog.open(tmp_path / "there")
    assert contents(both) == contents(zoo) | contents(other.refreshed())
    assert not verify(both.root).problems


def test_only_news_are_uploaded(zoo, networks, small_layout, commit, tmp_path, contents):
    publish(zoo, tmp_path / "there")
    manifest = commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    done = publish(zoo, tmp_path / "there")
    weights = manifest.files["weights"].bytes
    assert weights < done.bytes < weights + 40_000
    assert contents(catalog.open(tmp_path / "there")) == contents(zoo.refreshed())
    assert fetch(tmp_path / "there", tmp_path / "here").sql(
        "SELECT count(*) FROM models"
    ).fetchall() == [(7,)]


def test_a_compacted_catalogue_is_the_same(
    zoo, networks, small_layout, commit, tmp_path, contents
):
    commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    publish(zoo, tmp_path / "there")
    compact(zoo.root)
    assert not publish(zoo, tmp_path / "there").changed
    commit(zoo, networks(small_layout, 2, seed=4, prefix="later"))
    compact(zoo.root)
    done = publish(zoo, tmp_path / "there")
    assert done.shards == 1
    assert contents(catalog.open(tmp_path / "there")) == contents(zoo.refreshed())
    assert not verify(tmp_path / "there").problems


def test_many_publishes_are_packed_together(
    zoo, networks, small_layout, commit, tmp_path, monkeypatch, contents
):
    monkeypatch.setattr("catalog.remote.publish.MOST_PACKS", 3)
    for seed in range(6):
        commit(zoo, networks(small_layout, 1, seed=seed, prefix=f"late{seed}"))
        publish(zoo, tmp_path / "there")
    there = catalog.open(tmp_path / "there")
    packs = [m for m in there.snapshot.manifests if m.content == "pack"]
    assert len(packs) <= 4
    assert contents(there) == contents(zoo.refreshed())
    assert not verify(there.root).problems
    assert contents(fetch(there.root, tmp_path / "here")) == contents(there)


def test_packs_that_are_joined_there_lose_nothing_here(
    zoo, networks, small_layout, commit, contents, tmp_path
):
    publish(zoo, tmp_path / "there")
    here = fetch(tmp_path / "there", tmp_path / "here")
    commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    publish(zoo, tmp_path / "there")
    compact(tmp_path / "there")
    collect(tmp_path / "there", grace=0.0)
    here = fetch(tmp_path / "there", tmp_path / "here")
    assert contents(here) == contents(zoo.refreshed())
    here = fetch(tmp_path / "there", tmp_path / "here")
    assert contents(here) == contents(zoo.refreshed())
    assert not publish(zoo, tmp_path / "there").changed


def test_removals_travel(zoo, networks, small_layout, commit, tmp_path, contents):
    commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    publish(zoo, tmp_path / "there")
    here = fetch(tmp_path / "there", tmp_path / "here")
    assert len(contents(here)) == 7
    remove(zoo.refreshed(), "run_id = 'run-1' OR run_id LIKE 'late%'")
    with pytest.raises(CatalogError, match="phasezoo gc --waste 0"):
        publish(zoo, tmp_path / "there")
    collect(zoo.root, waste=0.0, grace=0.0)
    done = publish(zoo, tmp_path / "there")
    assert done.withdrawn == 2
    there = catalog.open(tmp_path / "there")
    assert contents(there) == contents(zoo.refreshed())
    assert len(contents(there)) == 4
    here = fetch(tmp_path / "there", tmp_path / "here")
    assert contents(here) == contents(there)
    assert not verify(here.root).problems


def test_what_was_withdrawn_does_not_come_with_the_pack_that_held_it(
    zoo, networks, small_layout, commit, tmp_path, contents
):
    commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    publish(zoo, tmp_path / "there")
    remove(zoo.refreshed(), "run_id LIKE 'late%'")
    collect(zoo.root, waste=0.0, grace=0.0)
    publish(zoo, tmp_path / "there")
    here = fetch(tmp_path / "there", tmp_path / "here")
    assert contents(here) == contents(zoo.refreshed())
    assert not verify(here.root).problems


def test_a_fetch_gives_up_nothing_that_came_from_elsewhere(
    zoo, new_zoo, networks, small_layout, commit, tmp_path
):
    mine = new_zoo()
    commit(mine, networks(small_layout, 3, seed=1, prefix="mine"))
    publish(zoo, tmp_path / "there")
    fetch(tmp_path / "there", mine.root)
    remove(zoo.refreshed(), "run_id <> 'run-1'")
    collect(zoo.root, waste=0.0, grace=0.0)
    publish(zoo, tmp_path / "there")
    both = fetch(tmp_path / "there", mine.root)
    runs = both.sql("SELECT DISTINCT run_id FROM runs ORDER BY ALL").fetchall()
    assert runs == [("mine-0",), ("mine-1",), ("mine-2",), ("run-1",)]


def test_what_was_removed_here_stays_away_unless_asked_for(zoo, tmp_path, contents):
    publish(zoo, tmp_path / "there")
    here = fetch(tmp_path / "there", tmp_path / "here")
    remove(here, "run_id = 'run-1'")
    collect(here.root, waste=0.0, grace=0.0)
    assert len(contents(fetch(tmp_path / "there", here.root))) == 4
    assert len(contents(fetch(tmp_path / "there", here.root, again=True))) == 5
    assert not verify(here.root).problems


def test_other_weights_for_one_checkpoint_are_refused(
    zoo, new_zoo, networks, small_layout, commit, tmp_path, files, contents
):
    other = new_zoo()
    commit(other, networks(small_layout, 2, seed=9))
    publish(zoo, tmp_path / "there")
    before = files(tmp_path / "there")
    with pytest.raises(CatalogError, match="run-0@0, run-1@10"):
        publish(other, tmp_path / "there")
    assert files(tmp_path / "there") == before
    before = files(other.root)
    with pytest.raises(CatalogError, match="run-0@0, run-1@10"):
        fetch(tmp_path / "there", other.root)
    after = files(other.root)
    assert {n: after[n] for n in before} == before
    assert len(contents(other.refreshed())) == 2


def test_the_same_weights_twice_are_no_conflict(
    zoo, new_zoo, networks, small_layout, commit, tmp_path, contents
):
    other = new_zoo()
    commit(other, networks(small_layout, 5))
    publish(zoo, tmp_path / "there")
    publish(other, tmp_path / "there")
    assert contents(catalog.open(tmp_path / "there")) == contents(zoo)


def test_zoos_need_a_licence(zoo, tmp_path):
    for nothing in (None, "", " "):
        with pytest.raises(CatalogError, match="--license"):
            Publish(zoo, str(tmp_path / "there"), license=nothing)
    publish(zoo, tmp_path / "there")
    assert 'license: "mit"' in (tmp_path / "there" / "README.md").read_text()


def test_a_catalogue_is_not_published_to_itself(zoo):
    with pytest.raises(CatalogError, match="itself"):
        Publish(zoo, str(zoo.root), license="mit")


def test_someone_elses_readme_stays(zoo, networks, small_layout, commit, tmp_path):
    publish(zoo, tmp_path / "there")
    readme = tmp_path / "there" / "README.md"
    readme.write_text("my own words")
    commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    publish(zoo, tmp_path / "there")
    assert readme.read_text() == "my own words"


def test_a_damaged_file_is_not_published(zoo, tmp_path):
    path = next((zoo.root / "weights").rglob("*.parquet"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(CatalogError, match="sha256 differs"):
        publish(zoo, tmp_path / "there")
    assert not (tmp_path / "there" / "HEAD").exists()


def test_a_publisher_in_between_loses_nothing(
    zoo, new_zoo, networks, small_layout, commit, tmp_path, contents
):
    other = new_zoo()
    commit(other, networks(small_layout, 3, seed=1, prefix="other"))
    job = Publish(zoo, str(tmp_path / "there"), license="mit")
    put = job._store.put

    def interrupted(files, moved):
        put(files, moved)
        if not (tmp_path / "there" / "HEAD").exists():
            publish(other, tmp_path / "there")

    job._store.put = interrupted
    job.run()
    there = catalog.open(tmp_path / "there")
    assert contents(there) == contents(zoo) | contents(other.refreshed())
    assert not verify(there.root).problems


def test_versions_can_be_pinned(zoo, networks, small_layout, commit, tmp_path, contents):
    first = publish(zoo, tmp_path / "there")
    commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    publish(zoo, tmp_path / "there")
    old = fetch(tmp_path / "there", tmp_path / "old", revision=str(first.version))
    assert len(contents(old)) == 5
    with pytest.raises(CatalogError, match="no version 99"):
        fetch(tmp_path / "there", tmp_path / "none", revision="99")
    with pytest.raises(CatalogError, match="numbers"):
        fetch(tmp_path / "there", tmp_path / "none", revision="main")
