"""A citation names the content, wherever it is."""

import catalog
from catalog.remote.cite import cite, cite_remote
from catalog.upkeep.compaction import compact


def test_equal_content_is_cited_alike(zoo, tmp_path, networks, small_layout, commit):
    catalog.publish(zoo, tmp_path / "there_a", license="mit")
    there = cite_remote(str(tmp_path / "there_a"))
    assert there.id == cite(zoo).id
    assert f"version {there.version}, content {there.id}" in there.bibtex()
    assert r"there\_a" in there.bibtex()
    commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    before = cite(zoo.refreshed())
    assert before.id != there.id
    compact(zoo.root)
    assert cite(zoo.refreshed()).id == before.id
