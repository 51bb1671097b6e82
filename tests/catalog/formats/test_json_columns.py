"""Settings in JSON as flat columns."""

from pathlib import Path

import pytest

from catalog import CatalogError
from catalog.formats.json_columns import flatten, read_settings


def test_flatten() -> None:
    nested = {"a::b": 1, "c": {"d": {"e": None}, "f": [1, "x"]}, "g.h": {}, "i": (1,)}
    assert flatten(nested, "x") == {
        "a_b": 1,
        "c_d_e": None,
        "c_f": '[1, "x"]',
        "g_h": "{}",
        "i": "[1]",
    }


def test_two_settings_of_one_name_are_refused() -> None:
    with pytest.raises(CatalogError, match="x: two settings would be called 'a_b'"):
        flatten({"a::b": 1, "a": {"b": 2}}, "x")


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000])
def test_what_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(CatalogError, match=r"s\.json"):
        read_settings(tmp_path / "s.json")
