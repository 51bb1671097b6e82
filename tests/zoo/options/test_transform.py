"""Transforms are exact maps of pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from catalog import NotFound
from zoo.options.transform import GEOMETRIC, check_transform, transform

IMAGES = arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 2, st.just(4), st.just(4)))
MOVES = [*GEOMETRIC, "permute:0", "permute:17"]
ORDER = {
    "rot90": 4,
    "rot270": 4,
    "rot180": 2,
    "flip_lr": 2,
    "flip_ud": 2,
    "transpose": 2,
}


@pytest.mark.parametrize("name", MOVES)
@given(images=IMAGES)
def test_pixels_move_within_their_channel_and_none_is_lost(name, images):
    moved = transform(name, images)
    assert moved.shape == images.shape
    assert moved.flags.c_contiguous
    flat, before = (x.reshape(*x.shape[:2], -1) for x in (moved, images))
    np.testing.assert_array_equal(np.sort(flat), np.sort(before))


@pytest.mark.parametrize("name", MOVES)
def test_all_images_and_channels_move_alike(name):
    places = np.arange(16).reshape(4, 4)
    images = np.broadcast_to(places, (3, 2, 4, 4))
    assert (transform(name, images) == transform(name, images[:1, :1])).all()


@pytest.mark.parametrize(("name", "times"), [*ORDER.items(), ("negate", 2)])
@given(images=IMAGES)
def test_repeated_often_enough_it_is_the_identity(name, times, images):
    turned = images
    for _ in range(times):
        turned = transform(name, turned)
    np.testing.assert_array_equal(turned, images)


@pytest.mark.parametrize("name", [*ORDER, "permute:0", "negate"])
def test_only_the_identity_changes_nothing(name):
    images = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    assert (transform("identity", images) == images).all()
    assert (transform(name, images) != images).any()


@given(images=IMAGES)
def test_the_square_has_its_symmetries(images):
    rot90 = transform("rot90", images)
    np.testing.assert_array_equal(rot90, np.rot90(images, axes=(2, 3)))
    np.testing.assert_array_equal(transform("rot90", rot90), transform("rot180", images))
    np.testing.assert_array_equal(transform("rot270", rot90), images)
    np.testing.assert_array_equal(
        transform("flip_lr", transform("transpose", images)),
        transform("rot270", images),
    )


def test_each_seed_is_one_permutation():
    images = np.arange(64.0).reshape(1, 1, 8, 8)
    first, again, other = (transform(f"permute:{s}", images) for s in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_negation_fits_the_units():
    assert transform("negate", np.array([[[[0, 255, 5]]]], np.uint8)).tolist() == [
        [[[255, 0, 250]]]
    ]
    assert transform("negate", np.array([[[[0.5, -2.0]]]])).tolist() == [[[[-0.5, 2.0]]]]


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("rot9", "rot90"),
        ("permute:", "permute:<seed>"),
        ("permute:-1", "permute:<seed>"),
    ],
)
def test_an_unknown_transform_is_answered_with_the_closest(name, closest):
    with pytest.raises(NotFound, match=f"No transform '{name}'. Closest: {closest}"):
        check_transform(name)
    with pytest.raises(NotFound, match=f"No transform '{name}'"):
        transform(name, np.zeros((1, 1, 2, 2)))
