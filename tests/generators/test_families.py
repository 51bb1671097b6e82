"""Batch normalisation and attention: generated, refit, judged; copies are caught."""

import numpy as np
import pytest

from catalog import Population
from generators.calibration import CALIBRATIONS
from generators.exam import Exam
from generators.judging.reference import Reference
from generators.methods import DeepWeightFlow
from generators.nulls import TrainNoise
from zoo.architectures import ResNet18, ViT

pytestmark = pytest.mark.slow
FAMILIES = {"resnet": ResNet18(2, (1, 8, 8)), "vit": ViT.scaled(8, (1, 8, 8), 10)}
TRAIN, HELD_OUT = 30, 20


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, trained, digits_data):
    """Thirty training and twenty held-out networks of the family, after sixty steps."""
    every = trained(
        FAMILIES[request.param], count=TRAIN + HELD_OUT, steps=60, lr=0.01,
        optimizer="adamw",
    )  # fmt: skip
    train = every.select(range(TRAIN))
    return train, every.select(range(TRAIN, len(every))), Exam.of(every, data=digits_data)


def applicable(exam):
    return [None, *(name for name, one in CALIBRATIONS.items() if not one().refusal(exam))]


def test_every_calibration_judges_a_family(family):
    train, heldout, exam = family
    noise = TrainNoise(sigma=0.1).fit(train)
    reference = Reference.of(noise, train, heldout, exam)
    for calibration in applicable(exam):
        found = reference.judge(noise.sample(12, seed=0), calibration=calibration)
        assert np.isfinite(found.novelty).all()
        assert 0 < np.median(found.novelty) < 1.5
        assert (found.accuracy >= 0).all()
        held = reference.judge_heldout(calibration)
        assert held.performant(0.25).mean() > 0.5


def test_copies_of_a_family_are_copies_whatever_their_buffers(family):
    train, heldout, exam = family
    noise = TrainNoise(sigma=0.1).fit(train)
    reference = Reference.of(noise, train, heldout, exam)
    copies = noise.training_.weights[:10].copy()
    rng = np.random.default_rng(0)
    for param in train.layout.params:
        if param.role == "buffer":
            span = train.layout.slices[param.name]
            copies[:, span] *= rng.uniform(0.5, 2, copies[:, span].shape)
    found = reference.judge(Population(copies, train.layout, train.table.slice(0, 10)))
    assert np.median(found.novelty) < 0.05


def test_a_flow_learns_a_family(family):
    train, heldout, exam = family
    flow = DeepWeightFlow(seed=0).fit(train)
    samples = flow.sample(10, seed=1)
    assert samples.weights.shape == (10, train.layout.d)
    variance = [p.name for p in train.layout.params if p.name.endswith("running_var")]
    for name in variance:
        assert (samples.weights[:, train.layout.slices[name]] > 0).all()
    found = Reference.of(flow, train, heldout, exam).judge(samples)
    assert np.isfinite(found.accuracy).all()
    assert np.median(found.novelty) > 0.05
