"""Memory as people write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import CatalogError
from zoo.memory import LEAST, default_memory, parse_memory


@pytest.mark.parametrize(
    ("text", "size"),
    [("64M", 64 << 20), ("1.5GB", 3 << 29), (" 2 gib ", 2 << 30), ("1T", 1 << 40),
     ("100000KB", 100_000 << 10), ("67108864", LEAST)],
)  # fmt: skip
def test_sizes_are_read(text, size):
    assert parse_memory(text) == size


@given(st.integers(64, 4096), st.sampled_from(["M", "MB", "mib", "m"]))
def test_units_have_one_meaning(count, unit):
    assert parse_memory(f"{count}{unit}") == count << 20


@pytest.mark.parametrize("text", ["1MB", "63M", "0", "-4GB", "4XB", "much", "", "4 G B x"])
def test_what_is_no_size_or_too_little_is_refused(text):
    with pytest.raises(CatalogError, match=f"at least 64MB, e.g. 4GB. Got '{text}'"):
        parse_memory(text)


def test_the_default_is_half_of_the_machine():
    with open("/proc/meminfo") as file:
        total = int(file.readline().split()[1]) << 10
    assert default_memory() == pytest.approx(total / 2, rel=0.01)
