"""A part of a remote catalogue is a catalogue of its own, and grows when more is asked."""

import numpy as np
import pytest

import catalog
from catalog import CatalogError
from catalog.remote.publish import Publish
from catalog.upkeep.verify import verify


@pytest.fixture
def published(zoo, networks, small_layout, commit, measure, tmp_path):
    commit(zoo, networks(small_layout, 4, seed=3, prefix="late"))
    measure(zoo, [{"run_id": "run-0", "step": 0, "sharpness": 2.5}])
    there = tmp_path / "there"
    Publish(zoo.refreshed(), str(there), license="mit").run()
    return zoo.refreshed(), str(there), tmp_path / "here"


KEYS = "SELECT run_id, step, sharpness FROM models ORDER BY ALL"


def test_only_what_was_asked_for_arrives(published):
    zoo, there, root = published
    catalog.fetch(there, root, where="run_id IN ('run-0', 'late1')", tensors=["fc.weight"])
    here = catalog.open(root)
    where = "run_id IN ('run-0', 'late1') ORDER BY run_id"
    keys = KEYS.replace("ORDER", "WHERE run_id IN ('run-0', 'late1') ORDER")
    assert here.sql(KEYS).fetchall() == zoo.sql(keys).fetchall()
    ours, theirs = (z.read_tensor("fc.weight", where) for z in (here, zoo))
    np.testing.assert_array_equal(ours, theirs)
    assert {p.name for p in here.load("true", lossy=True).layout} == {"fc.weight"}
    assert not verify(root).problems


def test_asking_for_more_gives_the_union_and_then_everything(published, contents):
    zoo, there, root = published
    catalog.fetch(there, root, where="run_id = 'run-0'", tensors=["fc.weight"])
    catalog.fetch(there, root, where="run_id = 'run-0'", tensors=["fc.bias"])
    here = catalog.open(root)
    names = {p.name for p in here.load("true", lossy=True).layout}
    assert names == {"fc.weight", "fc.bias"}
    assert here.sql("SELECT count(*) FROM models").fetchall() == [(1,)]
    catalog.fetch(there, root)
    here = here.refreshed()
    assert contents(here) == contents(zoo)
    assert here.sql(KEYS).fetchall() == zoo.sql(KEYS).fetchall()
    assert not verify(root).problems


def test_a_part_is_published_on_request_only(published, tmp_path):
    _, there, root = published
    catalog.fetch(there, root, tensors=["fc.*"])
    here, elsewhere = catalog.open(root), tmp_path / "elsewhere"
    with pytest.raises(CatalogError, match="--partial"):
        Publish(here, str(elsewhere), license="mit").run()
    Publish(here, str(elsewhere), license="mit", partial=True).run()
    assert "partial" in (elsewhere / "README.md").read_text()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"tensors": ["nothing.*"]}, "nothing"),
        ({"where": "run_id = 'none'"}, "matches|select"),
        ({"where": "1; DROP TABLE runs"}, "."),
    ],
)
def test_what_matches_nothing_is_refused_and_changes_nothing(published, asked, words):
    _, there, root = published
    with pytest.raises(CatalogError, match=words):
        catalog.fetch(there, root, **asked)
    assert not (root / "HEAD").exists()
