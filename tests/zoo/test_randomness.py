"""Random streams: one per seed and purpose."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zoo.randomness import stream

SEED, PURPOSE = st.integers(0, 2**64), st.text(max_size=12)


@given(SEED, PURPOSE)
def test_a_stream_repeats(seed, purpose):
    first, again = (stream(seed, purpose).random(8) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@given(st.sets(SEED, min_size=2, max_size=2), PURPOSE)
def test_seeds_have_streams_of_their_own(seeds, purpose):
    first, other = (stream(seed, purpose).random(8) for seed in seeds)
    assert (first != other).all()


@given(SEED)
def test_purposes_have_streams_of_their_own(seed):
    draws = {stream(seed, p).random() for p in ("init", "order", "subset", "label noise")}
    assert len(draws) == 4


def test_streams_are_the_same_for_ever():
    draw = stream(7, "init")
    assert draw.integers(0, 1000, 5).tolist() == [49, 268, 171, 876, 327]
    assert draw.permutation(6).tolist() == [3, 5, 1, 0, 2, 4]
    assert draw.random(2, dtype=np.float32).tolist() == [
        0.7422457933425903,
        0.6286070346832275,
    ]
