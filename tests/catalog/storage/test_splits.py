from collections import Counter

import pytest

from catalog.storage.splits import SHARES, split


def test_shares_are_those_stated() -> None:
    n = 20_000
    counts = Counter(split(f"run-{i}") for i in range(n))
    assert counts.keys() == {name for name, _ in SHARES}
    for name, share in SHARES:
        assert counts[name] / n == pytest.approx(
            share, abs=5 * (share * (1 - share) / n) ** 0.5
        )


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("run 0", "train"),
        ("run 3", "test"),
        ("", "train"),
        ("digits_mlp_phases", "validation"),
    ],
)
def test_the_split_of_a_name_never_changes(key: str, expected: str) -> None:
    assert split(key) == expected
