"""The card travels with a publish, and what somebody else wrote stays."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import catalog
from catalog import Catalog, Layout, Param
from catalog.remote import published_card
from catalog.remote.publish import Publish
from catalog.storage.card_files import named_in
from catalog.upkeep.garbage import collect
from catalog.upkeep.removal import remove
from catalog.upkeep.verify import verify


def publish(zoo: Catalog, destination: Path, license: str | None = "mit"):
    return Publish(zoo.refreshed(), str(destination), license=license).run()


def card_files(root: Path) -> set[str]:
    return {f"card/{path.name}" for path in (root / "card").iterdir()}


def test_a_dry_run_counts_the_files_of_the_card(zoo, tmp_path, files):
    plan = Publish(zoo, str(tmp_path / "there"), license="mit").plan()
    done = publish(zoo, tmp_path / "there")
    assert plan == done
    there = files(tmp_path / "there")
    records = ("manifests/", "snapshots/", "README.md", "croissant.json", "HEAD")
    moved = {n: d for n, d in there.items() if not n.startswith(records)}
    assert len(moved) == done.files
    assert sum(map(len, moved.values())) == done.bytes
    assert len([name for name in moved if name.startswith("card/")]) == 1


def test_both_texts_name_the_only_table(zoo, networks, small_layout, commit, tmp_path):
    there = tmp_path / "there"
    publish(zoo, there)
    first = card_files(there)
    commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    publish(zoo, there)
    second = card_files(there)
    assert not first & second
    for name in ("README.md", "croissant.json"):
        assert named_in((there / name).read_text()) == second
    (path,) = second
    assert pq.read_metadata(there / path).num_rows == 7
    assert not verify(there).problems


def test_equal_content_has_equal_cards(zoo, tmp_path):
    for name in ("a", "b"):
        publish(zoo, tmp_path / name / "zoo")
    assert card_files(tmp_path / "a" / "zoo") == card_files(tmp_path / "b" / "zoo")


def test_the_card_holds_what_others_published(
    zoo, new_zoo, networks, small_layout, commit, tmp_path
):
    other = new_zoo()
    commit(other, networks(small_layout, 3, seed=1, prefix="other"), zoo=["theirs"] * 3)
    publish(other, tmp_path / "there", "cc-by-4.0")
    publish(zoo, tmp_path / "there", "mit")
    text = (tmp_path / "there" / "README.md").read_text()
    assert "license: other" in text
    assert 'license_name: "cc-by-4.0-and-mit"' in text
    assert "| `cc-by-4.0` | `theirs` |" in text
    assert "| `mit` | `zoo` |" in text
    described = json.loads((tmp_path / "there" / "croissant.json").read_bytes())
    assert described["license"] == ["cc-by-4.0", "mit"]
    assert described["version"] == f"{catalog.open(tmp_path / 'there').version}.0.0"


@pytest.mark.parametrize("foreign", ["README.md", "croissant.json"])
def test_what_somebody_else_wrote_stays(
    zoo, networks, small_layout, commit, tmp_path, foreign
):
    there = tmp_path / "there"
    publish(zoo, there)
    (there / foreign).write_text("my own words")
    commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    done = publish(zoo, there)
    assert any(foreign in note for note in done.notes)
    assert (there / foreign).read_text() == "my own words"
    (ours,) = {"README.md", "croissant.json"} - {foreign}
    assert named_in((there / ours).read_text()) == card_files(there)


def test_a_table_that_somebody_elses_text_names_stays(
    zoo, networks, small_layout, commit, tmp_path
):
    there = tmp_path / "there"
    publish(zoo, there)
    (named,) = card_files(there)
    (there / "README.md").write_text(f"see {named}")
    commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    publish(zoo, there)
    assert named in card_files(there)
    assert len(card_files(there)) == 2


def test_without_any_text_of_ours_there_is_no_card(zoo, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    for name in ("README.md", "croissant.json"):
        (there / name).write_text("mine")
    assert len(publish(zoo, there).notes) == 2
    assert not (there / "card").exists()
    assert catalog.open(there).sql("SELECT count(*) FROM models").fetchall() == [(5,)]


def test_a_hostile_card_there_deletes_nothing_else(
    zoo, networks, small_layout, commit, tmp_path
):
    there = tmp_path / "there"
    publish(zoo, there)
    before = {path.name for path in there.iterdir()}
    with (there / "README.md").open("a") as file:
        file.write("card/../HEAD card/models-0123456789ab.parquet ../card/x.png\n")
        file.write("# Licence of zoos that state none: [1]\n")
    commit(zoo, networks(small_layout, 2, seed=3, prefix="late"))
    publish(zoo, there)
    assert {path.name for path in there.iterdir()} == before
    assert not verify(there).problems


def test_when_all_is_withdrawn_the_card_says_so(zoo, tmp_path):
    there = tmp_path / "there"
    publish(zoo, there)
    remove(zoo.refreshed(), "true")
    collect(zoo.root, waste=0.0, grace=0.0)
    publish(zoo, there)
    assert not card_files(there)
    assert "0 training runs" in (there / "README.md").read_text()


def test_pictures_that_cannot_be_drawn_are_told(zoo, measure, tmp_path, monkeypatch):
    measure(zoo, [{"run_id": "run-0", "step": 0, "phase": "I"}])
    monkeypatch.setattr(published_card, "can_draw", lambda: False)
    (note,) = publish(zoo, tmp_path / "there").notes
    assert "phasezoo[report]" in note


def test_gc_there_deletes_what_no_text_names(zoo, tmp_path):
    there = tmp_path / "there"
    publish(zoo, there)
    named = card_files(there)
    for name in ("models-0123456789ab.parquet", "phases-0123456789ab.png", "mine.txt"):
        (there / "card" / name).write_bytes(b"x")
    (there / "README.md").rename(there / "away")
    collect(there, grace=0.0)
    assert len(card_files(there)) == 4  # it may be a copy that is not complete
    (there / "away").rename(there / "README.md")
    collect(there, grace=0.0)
    assert card_files(there) == named | {"card/mine.txt"}


def test_the_python_of_the_card_runs(new_zoo, networks, commit, tmp_path):
    zoo = new_zoo()
    for size in (3, 2):  # networks of two architectures do not fit into one matrix
        commit(zoo, networks(Layout((Param("w", (size,), (None,)),)), 2, prefix=f"n{size}"))
    publish(zoo, tmp_path / "there")
    text = (tmp_path / "there" / "README.md").read_text()
    (code,) = (part for part in text.split("\n\n") if part.startswith("    import catalog"))
    script = code.replace("\n    ", "\n").strip().replace("FOLDER", str(tmp_path / "there"))
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] in ("(2, 3)", "(2, 2)")
