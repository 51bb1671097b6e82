"""Moved images against padding and slicing, numpy's flips and a rotation by hand."""

import numpy as np
import pytest
import torch

from catalog import NotFound
from zoo.options.augment import (
    AUGMENTATIONS,
    augmentation_draws,
    augmented,
    check_augmentation,
)
from zoo.randomness import stream
from zoo.samples import Batches, view
from zoo.task import load_task
from zoo.tasks import TASKS

IMAGES = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 6, 2, 9, 9))).float()
BLACK = torch.tensor([-3.0, -5.0]).view(2, 1, 1)


def moved(down=0, right=0, mirrored=0, angle=0.0):
    drawn = torch.tensor([down, right, mirrored, angle]).expand(1, 6, 4)
    return augmented(IMAGES, drawn, BLACK)


def test_nothing_drawn_changes_nothing():
    assert torch.equal(moved(), IMAGES)


@pytest.mark.parametrize(("down", "right"), [(2, -3), (-4, 4), (0, 1)])
def test_a_crop_is_a_slice_of_the_padded_image(down, right):
    padded = BLACK.expand(1, 6, 2, 17, 17).clone()
    padded[..., 4:13, 4:13] = IMAGES
    expected = padded[..., 4 + down : 13 + down, 4 + right : 13 + right]
    assert torch.equal(moved(down, right), expected)


def test_a_mirror_comes_after_the_crop():
    assert torch.equal(moved(1, 2, 1), moved(1, 2).flip(-1))


@pytest.mark.parametrize(("turns", "angle"), [(1, np.pi / 2), (2, np.pi)])
def test_right_angles_are_exact_and_come_last(turns, angle):
    found = moved(0, 3, 1, angle)
    assert any(
        torch.equal(found, moved(0, 3, 1).rot90(k, (-2, -1))) for k in (turns, -turns)
    )


def test_what_is_turned_in_from_outside_is_black():
    corners = moved(angle=np.pi / 4)[0, :, :, 0, 0]
    assert torch.equal(corners, BLACK.view(1, 2).expand(6, 2))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_draws_have_the_stated_range(name):
    kind, drawn = AUGMENTATIONS[name], augmentation_draws(name, stream(0, "x"), 20_000)
    assert drawn[:, :2].min() == -kind.padding
    assert drawn[:, :2].max() == kind.padding
    assert drawn[:, 2].mean() == pytest.approx(0.5 * kind.flip, abs=0.02)
    degrees = np.abs(np.degrees(drawn[:, 3])).max()
    assert degrees == pytest.approx(kind.degrees, rel=0.01)


def test_an_unknown_name_lists_the_closest():
    with pytest.raises(NotFound, match="crop_flip"):
        check_augmentation("crop_flop")


def test_a_run_moves_its_images_alone_as_in_a_stack(make_run):
    data = load_task(TASKS["digits"])
    runs = [make_run(augment=a, seed=s) for s, a in enumerate(("none", "crop_flip_rotate"))]

    def first(chosen):
        views = [view(run, data, "train") for run in chosen]
        batches = Batches(data, chosen, views, torch.device("cpu"))
        x, y = batches.empty()
        for _ in range(3):
            batches.fill(x, y)
        return x.clone()

    together = first(runs)
    assert torch.equal(together[0], first(runs[:1])[0])
    assert torch.equal(together[1], first(runs[1:])[0])
    plain = first([make_run(seed=1)])[0]
    assert not torch.equal(together[1], plain)
