"""The verb generate: runs with lineage, judged, kept, and not made again."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import catalog
from catalog import CatalogError, LayoutMismatch, NotFound
from catalog.console.program import phasezoo
from generators.generating.generate import generate
from generators.generating.options import GenerateOptions
from generators.generating.plan import Request
from generators.registry import open_generator

pytestmark = pytest.mark.usefixtures("few_strengths")

OURS = "zoo = 'seeds' AND width = 6"
FEWER = "(seed < 130 OR split_by_run <> 'train')"


@pytest.fixture(scope="module")
def made(root, few_strengths):
    """Thirty midpoints, with a calibrated head beside."""
    return generate(
        catalog.open(root), "interpolation", where=OURS, n=30, calibrations=["head"],
        null_count=16,
    )  # fmt: skip


def test_samples_are_runs_with_parents_scores_and_novelty(root, made):
    store = catalog.open(root)
    rows = store.sql(
        "SELECT * FROM models WHERE zoo = 'seeds_generated' ORDER BY run_id"
    ).to_arrow_table()
    rows = [row for row in rows.to_pylist() if row["operation"] == "interpolation"]
    assert sorted(made["samples"]) == [row["run_id"] for row in rows]
    train = {
        run
        for (run,) in store.sql(
            f"SELECT run_id FROM runs WHERE {OURS} AND split_by_run = 'train'"
        ).fetchall()
    }
    for row in rows:
        assert row["source"] == "generated"
        assert {p["run_id"] for p in row["parents"]} <= train
        assert len(row["parents"]) == 2
        assert row["split_by_run"] == "train"
        for split in ("train", "validation", "test"):
            assert 0 <= row[f"{split}_accuracy"] <= 1
        assert row["generated_novelty"] >= 0
        assert row["generated_head_novelty"] <= row["generated_novelty"] + 1e-6
        config = json.loads(row["config"])
        assert config["generator_file"] in made["file"]
        assert len(config["training"]) == 32
    mean = sum(row["test_accuracy"] for row in rows) / len(rows)
    judged = made["assessments"][0]["samples"][0]
    assert judged["accuracy"]["mean"] == pytest.approx(mean)
    assert set(made["columns"]) <= set(rows[0])


def test_the_generator_is_a_file_that_lists_its_training_networks(root, made):
    back = open_generator(made["file"])
    assert len(back.training_) == made["networks"]["train"]
    kept = json.loads(Path(made["report"]).read_text())
    assert kept["table"] == made["table"]
    assert Path(made["plot"]).read_text().startswith("<?xml")


def test_what_was_generated_is_not_generated_again(root, made):
    store = catalog.open(root)
    again = generate(
        store, "interpolation", where=OURS, n=30, calibrations=["head"], null_count=16
    )
    assert again["known"]
    assert again["samples"] == made["samples"]
    assert store.refreshed().version == store.version


def test_other_samples_of_the_same_fit_use_its_file(root, made):
    lines = []
    other = generate(
        catalog.open(root), "interpolation", where=OURS, n=8, seed=1, null_count=16,
        announce=lines.append,
    )  # fmt: skip
    assert not other["known"]
    assert other["file"] == made["file"]
    assert any(line.startswith("Fitted before") for line in lines)
    assert not set(other["samples"]) & set(made["samples"])
    # And nothing learns from what was generated, which has the split of its parents.
    known = Request.of(catalog.open(root), "soup", GenerateOptions(where="width = 6"))
    assert known.left_out["that were generated themselves"] >= 38
    assert sum(map(len, known.keys.values())) == 150


def test_fewer_images_judge_and_all_are_written(root):
    lines = []
    found = generate(
        catalog.open(root), "interpolation", where=OURS, n=9, seed=2, null_count=2,
        images=40, announce=lines.append,
    )  # fmt: skip
    assert found["provenance"]["images"] == 40
    assert any("at most 40 test images" in line for line in lines)
    judged = found["assessments"][0]["samples"][0]["accuracy"]["mean"] * 9 * 40
    assert judged == pytest.approx(round(judged), abs=1e-6)
    named = ", ".join(f"'{run}'" for run in found["samples"])
    rows = catalog.open(root).sql(
        f"SELECT test_accuracy FROM models WHERE run_id IN ({named})"
    )
    total = sum(value for (value,) in rows.fetchall()) * 300  # as many as there are
    assert total == pytest.approx(round(total), abs=1e-4)
    with pytest.raises(CatalogError, match=r"--images must be 1 or more\. Got 0"):
        generate(catalog.open(root), "interpolation", where=OURS, images=0)


def test_a_run_that_was_killed_before_its_report_gives_the_same_one(root):
    """Its samples are in the catalogue then, and are not counted as left out."""

    def made():
        return generate(
            catalog.open(root), "interpolation", where="width = 6", n=5, seed=3,
            null_count=2, images=20,
        )  # fmt: skip

    report = Path(made()["report"])
    before = report.read_bytes()
    report.unlink()
    assert not made()["known"]
    assert report.read_bytes() == before


def test_the_verb_prints_no_accuracy_without_novelty(root, made):
    arguments = ["interpolation", "--catalog", str(root), "--where", OURS, "-n", "30"]
    arguments += ["--calibrate", "head", "--nulls", "16"]
    told = CliRunner().invoke(phasezoo, ["generate", *arguments])
    assert told.exit_code == 0, told.output
    assert "Generated before" in told.stderr
    header = told.stdout.splitlines()[0].split()
    assert header[:3] == ["networks", "accuracy", "novelty"]
    assert "held-out networks + head" in told.stdout
    body = CliRunner().invoke(phasezoo, ["generate", *arguments, "--json"])
    assert json.loads(body.stdout)["samples"] == made["samples"]


def test_generators_and_calibrations_are_listed():
    told = CliRunner().invoke(phasezoo, ["generate", "--list"])
    for name in ("deepweightflow", "pca_gaussian", "head_steps"):
        assert name in told.stdout
    assert CliRunner().invoke(phasezoo, ["generate"]).exit_code == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"name": "flows"}, NotFound, "No generator 'flows'"),
        ({"settings": ["share=half"]}, CatalogError, "finite number.*--set share=0.5"),
        (
            {"name": "deepweightflow", "settings": {"velocity": "film"}},
            NotFound,
            "No velocity 'film'. Closest: film_mlp",
        ),
        ({"n": 0}, CatalogError, "must be 1 or more. Got 0"),
        ({"conditions": ["test_acuracy=1"]}, NotFound, "Closest: test_accuracy"),
        ({"conditions": ["test_accuracy"]}, CatalogError, "takes COLUMN=VALUE"),
        ({"calibrations": ["heads"]}, NotFound, "Closest: head"),
        ({"where": "zoo = 'none'"}, NotFound, "No checkpoint matches"),
        ({"where": "true"}, LayoutMismatch, r"has 2 layouts.*150 x mlp"),
        (
            {"where": f"{OURS} AND split_by_run <> 'test'"},
            CatalogError,
            "0 held-out runs",
        ),
        ({"plot": "x.gif"}, CatalogError, "--plot takes"),
        ({"calibrations": ["batch_norm"]}, CatalogError, "no batch normalisation"),
        ({"conditions": ["test_accuracy=0.9"]}, CatalogError, "takes no condition"),
    ],
)
def test_what_cannot_be_done_is_refused(root, tmp_path, options, error, message):
    options = {"name": "interpolation", "where": OURS, "to": tmp_path / "g", **options}
    with pytest.raises(error, match=message):
        generate(catalog.open(root), **options)


def test_options_are_a_record_or_keywords_that_replace_its_fields(root, made):
    options = GenerateOptions(where=OURS, n=5, calibrations=["head"], null_count=16)
    found = generate(catalog.open(root), "interpolation", options, n=30)
    assert found["known"]
    assert found["samples"] == made["samples"]
    with pytest.raises(TypeError, match="unexpected keyword argument 'm'"):
        generate(catalog.open(root), "interpolation", options, m=30)


def test_another_generators_file_is_not_taken(root, made, tmp_path):
    with pytest.raises(CatalogError, match="holds another generator"):
        generate(catalog.open(root), "soup", where=OURS, to=made["file"])


def test_what_is_known_is_put_where_it_is_asked_for(root, made, tmp_path):
    store, lines = catalog.open(root), []

    def again(name="g", **more):
        return generate(
            store, "interpolation", where=OURS, n=30, calibrations=["head"], null_count=16,
            to=tmp_path / f"{name}.safetensors", announce=lines.append, **more,
        )  # fmt: skip

    found = again(plot=tmp_path / "p.svg")
    assert found["known"]
    assert found["file"] == str(tmp_path / "g.safetensors")
    assert (tmp_path / "g.safetensors").read_bytes() == Path(made["file"]).read_bytes()
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    kept = Path(made["file"])
    kept.rename(tmp_path / "away")
    try:
        gone = again("other")
    finally:
        (tmp_path / "away").rename(kept)
    assert gone["file"] is None
    assert "Give --again to fit it again" in lines[-1]


def test_a_plot_is_drawn_again_as_it_was(root, made, tmp_path):
    def drawn(name, **more):
        found = generate(
            catalog.open(root), "interpolation", where=OURS, n=6, null_count=8, seed=4,
            calibrations=["head"], plot=tmp_path / name, **more,
        )  # fmt: skip
        return found["known"], (tmp_path / name).read_bytes()

    (first, one), (second, other) = drawn("a.png"), drawn("b.png")
    assert (first, second) == (False, True)
    assert one == other


def test_a_damaged_report_says_what_to_do(root, made):
    report = Path(made["report"])
    whole = report.read_text()
    try:
        report.write_text(whole[: len(whole) // 2])
        with pytest.raises(CatalogError, match=r"is damaged.*give --again"):
            generate(
                catalog.open(root), "interpolation", where=OURS, n=30,
                calibrations=["head"], null_count=16,
            )  # fmt: skip
    finally:
        report.write_text(whole)


def test_a_fit_of_fewer_networks_is_not_taken(root, tmp_path):
    store, to = catalog.open(root), tmp_path / "soup.safetensors"
    generate(
        store, "soup", where=f"{OURS} AND {FEWER}", n=4, null_count=4, to=to,
        settings=["size=4"],
    )  # fmt: skip
    with pytest.raises(CatalogError, match=r"other networks \(train\)"):
        generate(store, "soup", where=OURS, n=4, to=to, settings=["size=4"])
    with pytest.raises(CatalogError, match=r"other settings \(size\)"):
        generate(
            store, "soup", where=f"{OURS} AND {FEWER}", n=4, to=to, settings=["size=5"]
        )
    open_generator(to).save(to)
    with pytest.raises(CatalogError, match="does not say what it was fitted to"):
        generate(
            store, "soup", where=f"{OURS} AND {FEWER}", n=4, to=to, settings=["size=4"]
        )
