"""Errors stay readable, whatever they quote."""

import pytest

from catalog import CatalogError


@pytest.mark.parametrize("value", ["x", "\x1b[2J", "\n", "é"])
def test_long_values_are_cut_and_the_advice_stays(value):
    text = str(
        CatalogError(f"'seed' must be an int. Got {value * 100_000}. Use --set seed=0.")
    )
    assert len(text) < 30_000
    assert text.startswith("'seed' must be an int. Got ")
    assert text.endswith(". Use --set seed=0.")
    assert "characters) ..." in text


def test_short_errors_are_whole():
    assert str(CatalogError("a" * 4_000)) == "a" * 4_000
