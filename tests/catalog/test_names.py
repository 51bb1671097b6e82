import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalog.names import RESERVED, canonical_json, content_id, escape, slug, unescape

ANY_TEXT = st.text(st.characters(), max_size=20)  # lone surrogates too
SPLIT_WORDS = [
    "train",
    "training",
    "test",
    "testing",
    "eval",
    "evaluation",
    "valid",
    "validation",
    "val",
    "dev",
]


@given(ANY_TEXT)
@example("")
@example("%")
@example("%25")
@example("pz_run_id")
@example("PZ_run_id")
@example("layer.0.weight")
@example("🦊'\"")
@example("\ud800")
def test_escape_is_reversible(name: str) -> None:
    assert unescape(escape(name)) == name


@given(ANY_TEXT, ANY_TEXT)
@example("W", "w")
@example("", "%")
@example("%", "%25")
@example("straße", "STRASSE")
@example("K", "k")  # the first is the Kelvin sign
@example("pz_a", "%70z_a")
def test_escaped_names_stay_apart_where_case_is_ignored(a: str, b: str) -> None:
    same = escape(a).casefold() == escape(b).casefold()
    assert same == (a == b)


@given(ANY_TEXT)
@example("pz_")
def test_escaped_names_are_plain_ascii_and_never_reserved(name: str) -> None:
    column = escape(name)
    assert re.fullmatch(r"[a-z0-9_.%-]+", column)
    assert not column.startswith(RESERVED)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("conv1.weight", "conv1.weight"),
        ("W", "%57"),
        ("", "%"),
        ("pz_step", "%70z_step"),
        ("é", "%c3%a9"),
        ("100%", "100%25"),
    ],
)
def test_escape_is_what_the_format_says(name: str, column: str) -> None:
    assert escape(name) == column


@given(
    st.text() | st.lists(st.sampled_from([*SPLIT_WORDS, "-", "1", "x", " "])).map("".join)
)
@example("mlp test2")
@example("MLP 64-32 (test)")
@example("2train")
@example("İtest")
def test_slugs_never_hold_a_split_word_between_characters_that_are_no_letters(
    text: str,
) -> None:
    # `datasets` takes every one of "-._ 0-9" for the end of a word.
    words = re.split(r"[^a-z]+", slug(text))
    assert not set(words) & set(SPLIT_WORDS)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug(text))
    assert slug(slug(text)) == slug(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, min_size=2))
def test_content_ids_do_not_depend_on_the_order_of_keys(value: dict) -> None:
    backwards = dict(reversed(value.items()))
    assert content_id(value) == content_id(backwards)
    assert canonical_json(value) == canonical_json(backwards)


def test_content_ids_differ_where_values_differ_and_never_change() -> None:
    assert content_id({"a": 1}) != content_id({"a": 2})
    assert content_id({"a": [1, None, "é"]}, 12) == "e40b43fe4b99"
    with pytest.raises(ValueError, match="Out of range float"):
        content_id(float("nan"))
