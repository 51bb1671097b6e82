"""The judge: planted copies are caught, held-out networks are not, and its laws."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

from catalog import CatalogError, LayoutMismatch, NotFound
from catalog.alignment import match, permute, random_permutations, rescale, scalable
from generators.calibration.head import HeadSteps
from generators.codes.canonical import in_canonical_units
from generators.exam import Exam
from generators.judging.assessment import assess
from generators.judging.control import control
from generators.judging.ensemble import ensemble_gain
from generators.judging.errors import error_overlap, largest_overlap
from generators.judging.frontier import Frontier
from generators.judging.matched import _matched
from generators.judging.memorisation import copying_score
from generators.judging.nearest import nearest
from generators.judging.plot import accuracy_novelty, check_plot, save_plot
from generators.judging.reference import Reference
from generators.judging.space import MEASURED, Near, Space
from generators.judging.two_sample import two_sample
from generators.nulls import Disguised, Interpolation, TrainNoise
from probes.judging.bootstrap import (
    grouped_interval,
    mean_interval,
    share_interval,
)

SPREADS = (0.25, 0.5, 0.9)
COPYING = -5.0
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
compare = runpy.run_path(str(BENCHMARKS / "paired_difference.py"))["compare"]


def shuffled(weights, layout, seed=0):
    return permute(weights, random_permutations(layout, len(weights), seed=seed), layout)


# ------------------------------------------------------------------------ planted copies


def test_exact_copies_are_copies(judge, samples_of):
    found = judge.reference.judge(samples_of(judge.fitted.training_.weights[:30]))
    assert found.novelty.max() < 1e-6
    assert found.ratio.max() < 1e-6
    assert found.row.tolist() == list(range(30))
    assert found.agreement.min() == found.overlap.min() == 1
    assert found.functional.max() < 1e-3
    assert max(found.scores.values()) < COPYING
    assert not any(found.performant(s).any() for s in SPREADS)


@pytest.mark.parametrize("raw", [False, True])
def test_copies_of_networks_as_they_were_are_copies_too(judge, samples_of, raw):
    found = judge.reference.judge(samples_of(judge.train.weights[:30]), raw=raw)
    assert found.novelty.max() < 1e-6
    assert not any(found.performant(s).any() for s in SPREADS)


@pytest.mark.parametrize("share", [1e-3, 0.02, 0.1])
def test_noisy_copies_are_as_near_as_their_noise(judge, samples_of, share):
    own = judge.fitted.training_.weights[:40]
    noise = np.random.default_rng(0).standard_normal(own.shape)
    noise *= share / np.linalg.norm(noise, axis=1, keepdims=True)
    scale = judge.reference.yardstick().spaces["transported"].scale
    found = judge.reference.judge(samples_of(own + scale * noise))
    np.testing.assert_allclose(found.spaces["transported"], share, rtol=1e-3)
    assert (found.novelty <= share * 1.001).all()
    assert not any(found.performant(s).any() for s in SPREADS)
    assert found.row.tolist() == list(range(40))


def test_a_new_head_on_a_copied_body_is_a_copy(judge, samples_of):
    layout = judge.train.layout
    weights = new_head(judge.fitted.training_.weights[:40], layout)
    plain = judge.reference.judge(samples_of(weights))
    found = judge.reference.judge(samples_of(weights), calibration="head")
    assert plain.accuracy.mean() < 0.3  # with a head of noise
    assert found.accuracy.mean() > 0.8  # which the calibration replaces
    assert np.median(plain.spaces["transported"]) > 0.25
    assert plain.novelty.max() < 1e-3  # by its body
    assert found.novelty.max() < 1e-3
    assert not any(found.performant(s).any() for s in SPREADS)
    before = judge.reference.judge(samples_of(weights), calibration="head", before=plain)
    assert before.summary() == found.summary()


def new_head(weights, layout):
    """With a last layer of noise."""
    weights, rng = weights.copy(), np.random.default_rng(0)
    for name in ("layer1.weight", "layer1.bias"):
        part = weights[:, layout.slices[name]]
        part[:] = part.std() * rng.standard_normal(part.shape)
    return weights


def scaled(weights, layout, factor):
    """With logits times a factor."""
    weights = weights.copy()
    for name in ("layer1.weight", "layer1.bias"):
        weights[:, layout.slices[name]] *= np.float32(factor)
    return weights


def rescaled(weights, layout, seed=0):
    """With units that read and write at another scale."""
    rng = np.random.default_rng(seed)
    scales = {n: np.exp(rng.standard_normal((len(weights), layout.symbols[n])))
              for n in scalable(layout)}  # fmt: skip
    return rescale(weights, layout, scales)


@pytest.mark.parametrize("calibration", [None, "head_steps"])
@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
def test_copies_in_another_order_and_scale_are_copies(
    judge, samples_of, factor, calibration
):
    layout = judge.train.layout
    own = shuffled(judge.fitted.training_.weights[:40], layout)
    own = samples_of(rescaled(scaled(own, layout, factor), layout))
    found = judge.reference.judge(own, calibration=calibration)
    plain = [v for name, v in found.spaces.items() if not name.startswith("matched")]
    assert np.median(np.min(plain, axis=0)) > 0.5  # no distance of what is given sees it
    assert found.novelty.max() < 1e-5
    before = "" if calibration is None else ", before"
    assert found.spaces[f"matched, rest{before}"].max() < 1e-5
    for name in ("function", "function, last layer refit"):
        assert found.functions[f"{name}{before}"].max() < 1e-2
    assert not any(found.performant(s).any() for s in SPREADS)
    assert found.row.tolist() == list(range(40))  # the one that it copies is found
    if calibration is None:
        assert found.agreement_functional.min() == found.overlap.min() == 1
        assert found.agreement.min() == 1
        assert max(found.scores.values()) > COPYING > min(found.scores.values())


@pytest.mark.parametrize("sigma", [0.0, 0.2])
def test_noisy_copies_with_a_trained_head_in_other_units_are_copies(
    judge, samples_of, sigma
):
    """Order hides a body from weights, and a head hides it from function."""
    layout, known = judge.train.layout, judge.fitted.training_
    weights = TrainNoise(sigma=sigma).fit_to(known, judge.fitted.canonicaliser_).sample(20)
    with_head = HeadSteps(steps=300).apply(
        judge.exam, new_head(weights.weights, layout), {}
    )
    found = judge.reference.judge(samples_of(with_head))
    hidden = rescaled(shuffled(with_head, layout), layout)
    other = judge.reference.judge(samples_of(hidden))
    assert other.accuracy.mean() == pytest.approx(found.accuracy.mean(), abs=1e-3)
    assert other.accuracy.mean() > 0.8
    assert np.median(other.novelty) < np.median(found.novelty) + 0.05
    if not sigma:
        assert other.novelty.max() < 1e-3
    assert not other.performant(0.5).any()


def test_networks_too_large_to_match_are_far(judge, samples_of):
    weights = judge.fitted.training_.weights[:4].copy()
    weights[1] *= np.float32(1e22)
    found = judge.reference.judge(samples_of(weights))
    assert found.spaces["matched"][1] > 9
    assert found.novelty[[0, 2, 3]].max() < 1e-5
    alone = judge.reference.judge(samples_of(weights[1:2]))  # none is left to match
    assert alone.spaces["matched"][0] == found.spaces["matched"][1]


def test_first_and_second_of_the_matched_are_those_of_all_suspects(judge, samples_of):
    layout, known = judge.train.layout, judge.fitted.training_.weights
    own, rng = judge.fitted.training_.weights[:12], np.random.default_rng(0)
    suspects = [rng.integers(0, 80, 12) for _ in range(4)]
    none = np.full(12, -1)
    start = Near(np.full(12, 1e9), np.full(12, 1e9), none, none, np.full(12, 1e9))
    found = _matched(start, own, known, layout, suspects)
    for i in range(12):
        rows = np.array(sorted({int(rows[i]) for rows in suspects}))
        others = np.repeat(own[i : i + 1], len(rows), 0)
        order = match(others, known[rows], layout).permutations
        far = np.linalg.norm(permute(others, order, layout) - known[rows], axis=1)
        first = int(far.argmin())
        assert found.row[i] == rows[first]
        np.testing.assert_allclose(found.distance[i], far[first], rtol=1e-5, atol=1e-6)
        rest = np.delete(far, first)
        np.testing.assert_allclose(found.second[i], rest.min(), rtol=1e-5)


@pytest.mark.parametrize("null", [TrainNoise(sigma=0.2), Interpolation(share=0.25)])
def test_a_disguise_gains_nothing(judge, null):
    known = (judge.fitted.training_, judge.fitted.canonicaliser_)
    open_, hidden = null.fit_to(*known), Disguised(factor=1.0).fit_to(*known)
    found = judge.reference.judge(open_.sample(40))
    other = judge.reference.judge(hidden.of(open_).sample(40))
    assert np.median(other.novelty) < 1.1 * np.median(found.novelty)
    assert other.accuracy.mean() == pytest.approx(found.accuracy.mean(), abs=0.02)


@pytest.mark.parametrize("factor", [0.5, 2.0, 9.0])
def test_copies_with_a_scaled_head_are_copies(judge, samples_of, factor):
    layout = judge.train.layout
    own = scaled(judge.fitted.training_.weights[:40], layout, factor)
    found = judge.reference.judge(samples_of(own))
    assert found.spaces["transported"].min() > 0.25
    assert found.spaces["transported, rest"].max() < 1e-6
    assert found.novelty.max() < 1e-6
    assert not any(found.performant(s).any() for s in SPREADS)


def test_the_function_of_a_network_is_a_direction(judge):
    weights = judge.train.weights[:5]
    found = judge.exam.answers(weights).function
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    centred = found.reshape(5, -1, 10).mean(2)
    np.testing.assert_allclose(centred, 0, atol=1e-6)
    same = judge.exam.answers(scaled(weights, judge.train.layout, 1e20)).function
    np.testing.assert_allclose(same, found, atol=1e-6)
    dead = judge.exam.answers(np.zeros_like(weights)).function
    assert not dead.any()


def test_copies_of_networks_that_a_generator_held_out_are_copies(judge, samples_of):
    few = judge.fitted.training_.select(range(60))
    reference = Reference(
        judge.exam, judge.train, judge.heldout,
        training=few, canonicaliser=judge.fitted.canonicaliser_,
    )  # fmt: skip
    found = reference.judge(samples_of(judge.fitted.training_.weights[60:]))
    assert found.novelty.max() < 1e-6
    assert len(reference.training) == len(reference.population) == 60


def test_early_checkpoints_of_held_out_runs_do_not_lower_the_bar(judge):
    early = judge.heldout.weights * np.float32(0.01)
    table = judge.heldout.table
    at = table.column_names.index("step")
    before = table.set_column(at, "step", pa.array([1] * len(table)))
    both = replace(
        judge.heldout,
        weights=np.concatenate([early, judge.heldout.weights]),
        table=pa.concat_tables([before, table]),
    )
    found = Reference(judge.exam, judge.train, both).judge_heldout()
    assert found.bar == Reference(judge.exam, judge.train, judge.heldout).yardstick().bar
    assert len(found) == len(judge.heldout)


def test_mixing_copies_with_bad_networks_is_not_above_the_frontier():
    frontier = Frontier.of([(0.0, 0.9, "copies"), (1.0, 0.5, "noise")], 0.1)
    novelty, accuracy = np.array([0.0, 1.0, 1.0]), np.array([0.9, 0.5, 0.5])
    assert frontier.above(novelty, accuracy) == pytest.approx(0)
    assert frontier.above(np.array([1.5]), np.array([0.6])) == pytest.approx(0.1)


def test_copies_transported_as_training_networks_are_copies(judge, samples_of):
    moved = shuffled(judge.train.weights[:30], judge.train.layout)
    again = in_canonical_units(
        judge.fitted.canonicaliser_, replace(judge.train.select(range(30)), weights=moved)
    )
    found = judge.reference.judge(samples_of(again.weights))
    assert found.novelty.max() < 1e-3


def test_held_out_networks_are_new_and_performant(judge):
    for calibration in (None, "head", "repair"):
        found = judge.reference.judge_heldout(calibration)
        # About 1 (0.84 to 1.0 over seeds); copies have none, and the bar is 0.25.
        assert 0.6 < np.median(found.novelty) < 1.4
        assert 0.6 < np.median(found.functional) < 1.4
        # The bar is the 5th percentile of 40.
        assert 0.9 <= found.performant(0.25).mean() <= 0.975
        assert found.scores["transported"] == pytest.approx(0, abs=1e-9)
    tests = judge.reference.judge_heldout().tests["transported"]
    assert abs(tests.sampled - 0.5) < 0.35


def test_noise_is_novel_and_not_performant(judge):
    made = TrainNoise(sigma=2.0).fit_to(judge.fitted.training_, judge.fitted.canonicaliser_)
    found = judge.reference.judge(made.sample(40))
    assert np.median(found.novelty) > 0.9
    assert not found.performant(0.25).any()
    assert found.accuracy.mean() < found.bar


# --------------------------------------------------------------------------------- laws


def test_the_order_of_units_of_all_networks_does_not_matter(judge, samples_of):
    layout = judge.train.layout
    one = random_permutations(layout, 1, seed=3)
    order = {name: p[0] for name, p in one.items()}

    def moved(population):
        return replace(population, weights=permute(population.weights, order, layout))

    made = Interpolation(aligned=False).fit(judge.train).sample(20)
    plain = Reference(judge.exam, judge.train, judge.heldout)
    other = Reference(judge.exam, moved(judge.train), moved(judge.heldout))
    here, there = plain.judge(made), other.judge(moved(made))
    np.testing.assert_allclose(here.novelty, there.novelty, rtol=1e-5)
    np.testing.assert_allclose(here.functional, there.functional, rtol=1e-3, atol=1e-3)
    assert here.row.tolist() == there.row.tolist()
    np.testing.assert_allclose(here.accuracy, there.accuracy, atol=0.005)


def test_the_accuracy_is_that_of_the_network(judge, population):
    answers = judge.exam.answers(population.weights[:3])
    images, labels = judge.exam.inputs("test", 10**6)
    for i in range(3):
        module = judge.exam.networks.architecture.module()
        state = population.state_dict(i)
        module.load_state_dict({k: images.new_tensor(v) for k, v in state.items()})
        right = (module(images).argmax(1) == labels).float().mean().item()
        assert answers.accuracy[i] == pytest.approx(right, abs=1e-6)
    assert answers.wrong.mean(1) == pytest.approx(1 - answers.accuracy)


@given(
    hnp.arrays(np.float32, (7, 4), elements=st.floats(-9, 9, width=16)),
    hnp.arrays(np.float32, (9, 4), elements=st.floats(-9, 9, width=16)),
)
def test_nearest_distances_are_those_of_all_pairs(points, others):
    found, rows = nearest(points, others, count=3)
    every = cdist(points.astype(float), others.astype(float))
    np.testing.assert_allclose(found, np.sort(every, 1)[:, :3], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(every, rows, 1), found, atol=1e-6)


def test_near_copies_far_from_the_origin_have_their_distance():
    rng = np.random.default_rng(0)
    others = (rng.standard_normal((300, 500)) + 30).astype(np.float32)
    step = rng.standard_normal((300, 500)).astype(np.float32) * np.float32(1e-3)
    exact = np.linalg.norm((others + step).astype(float) - others.astype(float), axis=1)
    found, rows = nearest(others + step, others, count=1)
    np.testing.assert_allclose(found[:, 0], exact, rtol=1e-9)
    assert rows[:, 0].tolist() == list(range(300))


def test_a_space_of_many_networks_is_measured_by_some_of_them():
    rng = np.random.default_rng(0)
    many = rng.standard_normal((3 * MEASURED, 4)).astype(np.float32)
    runs = np.arange(len(many)) // 2
    space = Space.of("many", many, runs)
    every = nearest(many, many, count=1, runs=runs, other_runs=runs)[0][:, 0]
    assert len(space.own) == MEASURED
    assert set(space.own) <= set(every)
    assert space.scale == pytest.approx(np.median(every), rel=0.05)
    few = Space.of("few", many[:50], runs[:50])
    assert len(few.own) == 50


def test_networks_of_one_run_are_no_neighbours():
    points = np.float32([[0.0], [0.1], [5.0], [5.2]])
    runs = np.array([0, 0, 1, 2])
    found, rows = nearest(points, points, count=1, runs=runs, other_runs=runs)
    np.testing.assert_allclose(found[:, 0], [5.0, 4.9, 0.2, 0.2], rtol=1e-5)
    assert rows[:, 0].tolist() == [2, 2, 3, 2]
    alone, _ = nearest(points, points, count=2, runs=runs * 0, other_runs=runs * 0)
    assert np.isinf(alone).all()


@given(hnp.arrays(bool, (5, 12)), hnp.arrays(bool, (6, 12)))
def test_error_overlap_is_symmetric_and_one_for_itself(one, other):
    found = error_overlap(one, other)
    np.testing.assert_allclose(found, error_overlap(other, one).T)
    np.testing.assert_allclose(np.diag(error_overlap(one, one)), 1)
    assert found.min() >= 0
    assert found.max() <= 1
    for i, own in enumerate(one):
        for j, their in enumerate(other):
            union = (own | their).sum()
            expected = (own & their).sum() / union if union else 1
            assert found[i, j] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(largest_overlap(one, other), found.max(1))


@pytest.mark.parametrize("ties", [False, True])
def test_the_copying_score_is_scipys_without_continuity(ties):
    rng = np.random.default_rng(0)
    one, other = rng.random(40) * 0.8, rng.random(60)
    if ties:
        one, other = one.round(1), other.round(1)
    found = copying_score(one, other)
    told = mannwhitneyu(one, other, method="asymptotic", use_continuity=False)
    assert 2 * _tail(abs(found)) == pytest.approx(told.pvalue, rel=1e-6)
    assert found < 0
    assert copying_score(other, one) == pytest.approx(-found)


def _tail(z):
    from math import erfc, sqrt

    return erfc(z / sqrt(2)) / 2


def test_the_two_sample_test_tells_copies_clumps_and_nothing():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 400, 3)).astype(np.float32)
    same = two_sample(one, other)
    assert abs(same.sampled - 0.5) < 0.1  # four standard errors
    assert abs(same.heldout - 0.5) < 0.1
    apart = two_sample(one + 9, other)
    assert apart.sampled == apart.heldout == 1
    clump = two_sample(one * np.float32(0.01), other)
    assert clump.sampled > 0.95


def test_an_ensemble_of_copies_gains_nothing_and_of_independent_errors_much():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, 500)
    one = np.where(rng.random(500) < 0.7, truth, (truth + 1) % 10)
    assert ensemble_gain(np.tile(one, (32, 1)), truth) == pytest.approx(0)
    wrong = (truth + rng.integers(1, 10, (32, 500))) % 10
    many = np.where(rng.random((32, 500)) < 0.7, truth, wrong)
    assert ensemble_gain(many, truth) == pytest.approx(0.3, abs=0.02)
    assert np.isnan(ensemble_gain(many[:15], truth))
    half = np.where(np.arange(16)[:, None] < 8, truth, wrong[0])
    assert ensemble_gain(half, truth) == pytest.approx(0)  # ties are drawn by lot
    assert ensemble_gain(np.full((16, 500), -1), truth) == 0


def test_control_of_an_obedient_and_a_deaf_generator():
    rng = np.random.default_rng(0)
    asked = np.repeat([0.9, 0.93, 0.96], 50)
    noise = rng.standard_normal(150) * 0.01
    obeys, deaf = control(asked, asked + noise), control(asked, 0.93 + noise)
    assert obeys.low < 1 < obeys.high
    assert deaf.low < 0 < deaf.high < obeys.low
    assert np.isnan(control(asked[:50], asked[:50]).slope)


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(0)
    inside, hits = 0, 0
    for _ in range(200):
        low, high = share_interval(rng.random(60) < 0.1)
        inside += low <= 0.1 <= high
        low, high = mean_interval(rng.standard_normal(60), seed=1)
        hits += low <= 0 <= high
    assert inside / 200 > 0.90
    assert 0.88 < hits / 200 < 0.99


@pytest.mark.parametrize("groups", [2, 5])
def test_grouped_intervals_know_that_groups_differ(groups):
    rng = np.random.default_rng(0)
    covered, alone = 0, 0
    for _ in range(400):
        shape = (groups, 20)
        values = rng.standard_normal((groups, 1)) + 0.3 * rng.standard_normal(shape)
        low, high = grouped_interval(values)
        covered += low <= 0 <= high
        low, high = mean_interval(values.ravel())
        alone += low <= 0 <= high
    assert 0.92 < covered / 400 < 0.98
    assert alone / 400 < 0.6


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_no_null_is_above_the_frontier(points):
    named = [(n, a, str(i)) for i, (n, a) in enumerate(points)]
    frontier = Frontier.of(named, 0.1)
    for novelty, accuracy, label in named:
        above = frontier.above(np.array([novelty]), np.array([accuracy]))
        assert above <= 1e-12 or accuracy <= 0.1
        if label in {own for _, _, own in frontier.points}:
            assert above == pytest.approx(0)
    worst = [a for _, a, _ in frontier.points]
    assert worst == sorted(worst, reverse=True)


# -------------------------------------------------------------------- assessment, plot


@pytest.fixture(scope="module")
def assessed(judge):
    made = Interpolation().fit_to(judge.fitted.training_, judge.fitted.canonicaliser_)
    samples = {"midpoints": (made.sample(30), False)}
    return assess(judge.reference, samples, calibrations=[None, "head"], null_count=24)


def test_nulls_stand_beside_samples_with_and_without_alignment(assessed):
    plain, head = assessed
    assert (plain.calibration, head.calibration) == (None, "head")
    labels = [own.label for own in plain.nulls]
    assert {"train", "soup of 16", "soup of 16, aligned"} <= set(labels)
    assert labels == [own.label for own in head.nulls]
    assert len(set(labels)) == len(labels)
    (ours,) = plain.samples
    same = plain.nulls[labels.index("interpolation 0.5, aligned")]
    assert ours.accuracy.mean() == pytest.approx(same.accuracy.mean(), abs=0.1)
    assert plain.above(ours) < 0.05  # a null is not above the nulls
    assert plain.above(plain.heldout) > 0
    assert head.nulls[0].novelty.max() < 1e-3  # calibrated training networks
    again = [n for n in plain.nulls if n.label.endswith(", disguised")]
    assert len(again) > 5  # a disguise hides nothing
    for own in again:
        open_ = own.label.replace("disguised", "aligned")
        if open_ in labels:
            twin = plain.nulls[labels.index(open_)]
            assert np.median(own.novelty) < 1.5 * np.median(twin.novelty) + 0.02


def test_an_assessment_is_json_and_a_table_with_novelty(assessed):
    for own in assessed:
        body = json.loads(json.dumps(own.to_json()))
        assert body["samples"][0]["count"] == 30
        shares = body["samples"][0]["novel_and_performant"]
        assert [one["spread"] for one in shares] == [0.25, 0.5, 0.9]
        assert all(one["low"] <= one["share"] <= one["high"] for one in shares)
        for space in body["between_training_networks"].values():
            assert 0 < space["p05"] <= space["median"] <= space["p95"]
        assert all({"accuracy", "novelty"} <= set(row) for row in own.rows())


def test_a_plot_is_drawn_into_a_file(assessed, tmp_path):
    figure = accuracy_novelty(assessed)
    assert len(figure.axes) == 2
    for ending in ("svg", "png"):
        save_plot(assessed, tmp_path / f"p.{ending}")
        assert (tmp_path / f"p.{ending}").stat().st_size > 5000
    with pytest.raises(CatalogError, match=r"takes a \.svg, \.png or \.pdf file"):
        check_plot(tmp_path / "p.gif")
    with pytest.raises(CatalogError, match="There is no folder"):
        check_plot(tmp_path / "none" / "p.svg")


def test_a_comparison_over_seeds_has_an_interval(judge, samples_of):
    held = [judge.reference.judge_heldout()] * 3
    copies = [judge.reference.judge(samples_of(judge.train.weights[:40]), raw=True)] * 3
    found = compare(held, copies, 0.25)
    assert found.low <= found.mean <= found.high
    assert found.low > 0.8
    none = compare(copies, copies, 0.25)
    assert (none.mean, none.low, none.high) == (0, 0, 0)
    same = compare(held, held, 0.25)
    assert same.low <= 0 <= same.high
    with pytest.raises(CatalogError, match="Got 3 and 2"):
        compare(held, copies[:2], 0.25)
    with pytest.raises(CatalogError, match="Got None, head"):
        compare(held[:1], [judge.reference.judge_heldout("head")], 0.25)


# ------------------------------------------------------------------------------- errors


def test_what_cannot_be_judged_is_refused(judge, samples_of, population):
    with pytest.raises(LayoutMismatch, match="There are no samples"):
        judge.reference.judge(samples_of(judge.train.weights[:0]))
    bad = judge.train.weights[:4].copy()
    bad[2, 5] = np.inf
    with pytest.raises(LayoutMismatch, match=r"1 of 4 sampled networks .* first run 's2'"):
        judge.reference.judge(samples_of(bad))
    with pytest.raises(NotFound, match=r"No calibration 'heads'. Closest: head"):
        judge.reference.judge(samples_of(judge.train.weights[:2]), calibration="heads")
    with pytest.raises(CatalogError, match="mlp has no batch normalisation"):
        judge.reference.judge(samples_of(judge.train.weights[:2]), calibration="batch_norm")
    with pytest.raises(CatalogError, match=r"There are 0 held-out runs .*split_by_run"):
        Reference(judge.exam, judge.train, judge.heldout.select([]))
    with pytest.raises(CatalogError, match="Got 1"):
        Reference(judge.exam, judge.train.select([0]), judge.heldout)
    with pytest.raises(CatalogError, match="80 runs are in training and held out"):
        Reference(judge.exam, judge.train, population)
    with pytest.raises(CatalogError, match=r"80 of the 80 networks .* fitted to"):
        Reference(
            judge.exam, judge.heldout.select(range(20)),
            population.select(range(100, 120)), training=judge.train,
        )  # fmt: skip


def test_networks_of_several_tasks_are_no_exam(population):
    names = ["digits"] * 100 + ["mnist"] * 20
    at = population.table.column_names.index("task_name")
    table = population.table.set_column(at, "task_name", pa.array(names))
    with pytest.raises(LayoutMismatch, match=r"2 values of task_name.*100 x digits"):
        Exam.of(replace(population, table=table))
    with pytest.raises(LayoutMismatch, match="population is empty"):
        Exam.of(population.select([]))
    at = population.table.column_names.index("data_fingerprint")
    other = population.table.set_column(at, "data_fingerprint", pa.array(["0" * 32] * 120))
    with pytest.raises(CatalogError, match=r"trained on other .* data"):
        Exam.of(replace(population, table=other))


def test_an_exam_of_fewer_images_asks_some_of_them_and_keeps_the_others_splits(judge):
    exam = replace(judge.exam, test_samples=50)
    weights = judge.train.weights[:3]
    every, some = judge.exam.answers(weights), exam.answers(weights)
    assert exam.samples("test") == 50
    assert exam.samples("validation") == judge.exam.samples("validation")
    np.testing.assert_array_equal(some.accuracy, 1 - some.wrong.mean(1))
    # The same images for all, and images of the test split in their order.
    np.testing.assert_array_equal(exam.answers(weights).labels, some.labels)
    asked = [list(column) for column in some.labels.T]
    rest = iter(list(column) for column in every.labels.T)
    assert all(column in rest for column in asked)
    assert replace(judge.exam, test_samples=10**6).samples("test") == judge.exam.samples(
        "test"
    )
