"""Memory as people write it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import CatalogError
from zoo.training.memory import LEAST, WORKER, default_memory, parse_memory, stack_memory


@pytest.mark.parametrize(
    ("text", "size"),
    [("64M", 64 << 20), ("1.5GB", 3 << 29), (" 2 gib ", 2 << 30), ("1T", 1 << 40),
     ("100000KB", 100_000 << 10), ("67108864", LEAST)],
)  # fmt: skip
def test_sizes_are_read(text, size):
    assert parse_memory(text) == size


@given(st.integers(1, 4096), st.sampled_from(["M", "MB", "mib", "m"]))
def test_units_have_one_meaning(count, unit):
    assert parse_memory(f"{count}{unit}") == count << 20


@pytest.mark.parametrize("text", ["0", "0.1", "-4GB", "4XB", "much", "", "4 G B x"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(CatalogError, match=f"must be a size such as 4GB. Got '{text}'"):
        parse_memory(text)


def test_the_default_is_at_most_half_of_the_machine():
    with open("/proc/meminfo") as file:
        total = int(file.readline().split()[1]) << 10
    assert LEAST < default_memory() <= total / 2 * 1.01


def test_stacks_get_what_torch_and_the_data_leave(blobs):
    held = WORKER + sum(x.nbytes for x in blobs.x.values())
    assert stack_memory(held + 5 * LEAST, blobs) == 5 * LEAST
    message = (
        r"--memory leaves 1 MB per worker; with blobs a worker needs at least (\d+) MB"
    )
    with pytest.raises(CatalogError, match=message) as refusal:
        stack_memory(1 << 20, blobs)
    enough = int(re.search(message, str(refusal.value))[1]) << 20
    assert LEAST <= stack_memory(enough, blobs) <= LEAST + (1 << 20)
