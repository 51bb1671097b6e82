"""The description of a published catalogue is valid: the oracle is mlcroissant."""

import json
from pathlib import Path

import pytest

from catalog import Catalog
from catalog.card.croissant import croissant
from catalog.card.destination import Destination
from catalog.card.facts import facts_of
from catalog.remote.publish import Publish

pytestmark = pytest.mark.filterwarnings("ignore")  # those of other libraries


def described(zoo: Catalog, repository: str = "") -> dict:
    place = Destination("zoo", "FOLDER", repository, 3, "0" * 16, "2026-01-01", "@misc{a}")
    weights = {}
    for manifest in zoo.snapshot.manifests:
        if manifest.arch_id:
            weights.setdefault(manifest.arch_id, []).append(manifest.files["weights"])
    facts = facts_of(zoo)
    text = croissant(facts, place, licences=["mit"], models=None, weights=weights)
    return json.loads(text)


def test_it_is_valid_and_its_records_are_those_of_the_catalogue(
    zoo: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    there = tmp_path / "there"
    Publish(zoo, str(there), license="mit").run()
    monkeypatch.chdir(there)  # its patterns of files are relative to the current folder
    dataset = mlcroissant.Dataset(there / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    records = [*dataset.records("models")]
    keys = {(r["models/run_id"].decode(), r["models/step"]) for r in records}
    assert keys == set(zoo.sql("SELECT run_id, step FROM models").fetchall())
    (arch,) = {m.arch_id for m in zoo.snapshot.manifests if m.arch_id}
    weights = {r[f"{arch}/pz_run_id"].decode(): r for r in dataset.records(arch)}
    stored = zoo.read_tensor("fc.weight", "true ORDER BY run_id")
    for run_id, values in zip(sorted(weights), stored, strict=True):
        found = [float(value) for value in weights[run_id][f"{arch}/fc.weight"]]
        assert repr(found) == repr(values.reshape(-1).tolist())


def test_every_file_of_weights_is_in_it_with_its_digest(zoo: Catalog) -> None:
    files = {f["contentUrl"]: f.get("sha256") for f in described(zoo)["distribution"][:-1]}
    committed = [m.files["weights"] for m in zoo.snapshot.manifests if m.arch_id]
    assert files == {file.path: file.sha256 for file in committed}


def test_that_of_the_hub_is_valid_too(zoo: Catalog, tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    document = described(zoo, "lab/zoo")
    assert document["creator"]["name"] == "lab"
    (tmp_path / "croissant.json").write_text(json.dumps(document))
    issues = mlcroissant.Dataset(tmp_path / "croissant.json").metadata.ctx.issues
    assert not issues.errors
    urls = [f.get("contentUrl", "") for f in document["distribution"]]
    assert urls[0] == "https://huggingface.co/datasets/lab/zoo"
    assert urls[1].startswith(f"{urls[0]}/resolve/main/weights/")


def test_columns_may_have_any_name(zoo: Catalog, metrics, tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    names = {"a b", 'quote"s', "a/b", "é<", "%41", "[x]", "a\\b", "#?&", "{y}", "http://z"}
    metrics(zoo, "named", **{name: [1.5] for name in names})
    Publish(zoo.refreshed(), str(tmp_path / "there"), license="mit").run()
    path = tmp_path / "there" / "croissant.json"
    issues = mlcroissant.Dataset(path).metadata.ctx.issues
    assert not issues.errors
    fields = json.loads(path.read_bytes())["recordSet"][0]["field"]
    assert names <= {field["source"]["extract"]["column"] for field in fields}
