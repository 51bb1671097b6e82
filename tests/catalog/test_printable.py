"""What acts is escaped, in text, JSON and YAML; what shows itself stays."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.printable import acts, json_text, printable, printable_lines, yaml_text

ANY = st.text(st.characters())
ACTING = [
    "\x00", "\x07", "\x1b", "\x7f", "\x85", "\x9b", "\n", "\r", "\t", "\xad", "\u061c",
    "\u200b", "\u200c", "\u200e", "\u200f", "\u2028", "\u2029", "\u202a", "\u202e",
    "\u2066", "\u2069", "\ufeff", "\ud800", "\udfff", "\ufffe", "\uffff", "\U000e0001",
]  # fmt: skip
SHOWN = [
    "", "digits_mlp", "Zürich", "网络", "שלום", "α²", "e\u0301", "a\u00a0b", "🦊", "👍🏽",
    "🧑‍💻", "🏳️‍🌈", "👩‍❤️‍👨", "🧑🏽‍🔬", "🇩🇪", "☃️",
]  # fmt: skip


@pytest.mark.parametrize("character", ACTING)
def test_what_acts_is_escaped_so_that_python_would_read_it_back(character: str) -> None:
    shown = printable(f"a{character}b")
    assert shown.isascii()
    assert shown.isprintable()
    assert json.loads(json_text(character)) == character
    if character not in "\r\t\n":
        assert shown == f"a{character!r}b".replace("'", "")


@pytest.mark.parametrize("text", SHOWN)
def test_what_shows_itself_stays(text: str) -> None:
    assert printable(text) == text
    assert json_text(text) == f'"{text}"'


def test_a_joiner_that_joins_no_pictures_is_escaped() -> None:
    assert printable("a\u200db") == r"a\u200db"
    assert printable("\u200d🦊\u200d") == r"\u200d🦊\u200d".replace("🦊", "🦊")
    assert printable("🦊\u200da") == r"🦊\u200da"


@given(ANY)
def test_nothing_that_is_left_acts(text: str) -> None:
    shown = printable(text)
    assert not any(acts(c) for c in shown.replace("\u200d", ""))
    assert printable(shown) == shown
    assert not any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") for c in shown)
    assert len(printable_lines(text)) == text.count("\n") + 1


@given(st.recursive(ANY | st.integers() | st.none(), lambda v: st.dictionaries(ANY, v)))
def test_json_says_the_same_and_acts_on_nothing(value: object) -> None:
    for only in (False, True):
        text = json_text(value, ascii_only=only)
        # Halves of surrogate pairs that stand side by side are a pair to JSON.
        assert json.loads(text) == json.loads(json.dumps(value))
        assert not any(acts(c) for c in text.replace("\n", "").replace("\u200d", ""))
        assert text.isascii() or not only


@given(st.text())
def test_yaml_reads_the_same(text: str) -> None:
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(f"a: {yaml_text(text)}") == {"a": text}
