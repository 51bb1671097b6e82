"""Probes of a remote catalogue: fitted in place, kept here, nothing written there."""

import json

import numpy as np
import pytest

import catalog
from catalog import CatalogError
from catalog.console.program import main
from catalog.remote.publish import Publish
from catalog.upkeep.verify import verify
from probes.fitting.apply import apply_probe
from probes.fitting.fit import fit_probe
from tests.servers.faults import Traffic
from tests.servers.files import serve_files

WHERE = "zoo = 'narrow'"
FIT = ("statistics", "--target", "test_accuracy", "--where", WHERE)


@pytest.fixture
def there(zoo, tmp_path, monkeypatch):
    """Address of the catalogue, with requests, and a current folder of its own."""
    monkeypatch.setenv("PHASEZOO_CACHE", str(tmp_path / "users cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "served").mkdir()
    Publish(catalog.open(zoo), str(tmp_path / "served"), license="mit").run()
    traffic = Traffic()
    with serve_files(tmp_path / "served", traffic) as url:
        yield url, traffic


@pytest.fixture
def run(capsys):
    def called(*arguments):
        with pytest.raises(SystemExit) as end:
            main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return called


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_probe_is_fitted_in_place(there, run, zoo, tmp_path):
    url, _ = there
    before = contents(tmp_path / "served")
    code, out, err = run("probe", *FIT, "--catalog", url, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert "predictions are not committed" in err
    assert f"phasezoo fetch {url}" in err
    assert not result["committed"]
    assert contents(tmp_path / "served") == before
    (file,) = (tmp_path / "here").iterdir()
    assert result["file"] == str(file)
    assert not list((tmp_path / "users cache").rglob("*.safetensors"))
    local = fit_probe(catalog.open(zoo), "statistics", ["test_accuracy"], where=WHERE)
    assert local["committed"]
    for ours, theirs in zip(local["estimates"], result["estimates"], strict=True):
        assert theirs == pytest.approx(ours)
    assert not verify(zoo).problems
    code, out, err = run("probe", *FIT, "--catalog", url)
    assert (code, "Fitted before" in err) == (0, True)
    assert "columns of models" not in out
    assert "predictions are not committed" in err


def test_only_what_is_read_comes_here(there, tmp_path):
    url, traffic = there
    store = catalog.open(url)
    to = tmp_path / "kept" / "probe.safetensors"
    layer = ["layer0.weight"]
    fit_probe(store, "linear", ["test_accuracy"], where=WHERE, layer=layer, to=to)
    assert to.exists()
    stored = store.sql("SELECT count(*) FROM chunks WHERE tensor = 'layer0.weight'")
    shards = {request.path for request in traffic.matching("*/weights/*")}
    assert (len(shards), stored.fetchall()) == (1, [(3,)])


def test_a_probe_is_applied_in_place(there, run, zoo, tmp_path):
    url, _ = there
    store, fit = catalog.open(zoo), {"where": "zoo <> 'wide'"}
    file = fit_probe(store, "statistics", ["test_accuracy"], **fit)["file"]
    lines = []
    chosen = {"where": "zoo = 'wide'", "announce": lines.append}
    theirs, _, scored = apply_probe(catalog.open(url), file, **chosen)
    assert "not committed" in " ".join(lines)
    ours, _, judged = apply_probe(catalog.open(zoo), file, where="zoo = 'wide'")
    assert scored.judged_on == judged.judged_on
    name = "statistics_test_accuracy"
    np.testing.assert_allclose(theirs[name].to_numpy(), ours[name].to_numpy())
    code, _, err = run("probe", "apply", file, "--catalog", url)
    assert code == 0, err
    assert "models holds all" not in err


def test_it_works_offline_from_what_was_read(there, run):
    url, traffic = there
    assert run("probe", *FIT, "--catalog", url)[0] == 0
    traffic.clear()
    code, _, err = run("probe", *FIT, "--again", "--catalog", url, "--offline")
    assert code == 0, err
    assert not traffic.requests


def test_search_and_lineage_read_in_place(there, run, tmp_path):
    url, _ = there
    where = ["--where", "zoo = 'narrow' AND cell IN ('cell0', 'cell1')"]
    code, out, err = run("lineage", *where, "--catalog", url, "--json")
    assert code == 0, err
    assert len(json.loads(out)["networks"]) == 6
    search = (
        "search",
        "cell3",
        "--target",
        "cell",
        "--encoder",
        "ngrams",
        "--where",
        WHERE,
    )
    code, out, err = run(*search, "--catalog", url, "--json")
    assert code == 0, err
    assert len(json.loads(out)) == 10
    assert [path.suffix for path in (tmp_path / "here").iterdir()] == [".safetensors"]


@pytest.mark.parametrize(
    "command",
    [
        ("train", "digits_mlp_phases"),
        ("measure", "narrow"),
        ("downstream", "narrow"),
        ("phases", "narrow"),
        ("generate", "soup", "-n", "2"),
        ("import", __file__),
        ("rm", "true", "--yes"),
        ("gc",),
        ("compact",),
        ("annotate", "/dev/null", "--name", "x"),
        ("publish", "elsewhere"),
    ],
)
@pytest.mark.parametrize("way", ["option", "environment"])
def test_what_writes_is_refused_before_anything_is_read(
    there, run, monkeypatch, tmp_path, command, way
):
    url, traffic = there
    if way == "environment":
        monkeypatch.setenv("PHASEZOO_HOME", url)
    where = ["--catalog", url] if way == "option" else []
    code, out, err = run(*command, *where)
    assert (code, out) == (1, ""), err
    assert "etch it first: phasezoo fetch" in err.replace("\n  ", " ")
    assert not traffic.requests
    assert list((tmp_path / "here").iterdir()) == []


def test_in_python_too(there):
    from generators.generating.generate import generate
    from zoo.measuring.measure import measure
    from zoo.phases.store import label_zoo
    from zoo.training.train import train

    url, traffic = there
    store = catalog.open(url)
    traffic.clear()
    for call in (
        lambda: train("digits_mlp_phases", url),
        lambda: measure(url, "narrow"),
        lambda: label_zoo(store, "narrow"),
        lambda: generate(store, "soup", n=2),
        lambda: catalog.publish(store, "elsewhere"),
    ):
        with pytest.raises(CatalogError, match="phasezoo fetch"):
            call()
    assert not traffic.matching("*/weights/*")
