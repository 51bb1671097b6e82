"""The licence of a repository, and what publishers stated for zoos without one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.card.licences import licence_lines, stated_in, stated_line


@pytest.mark.parametrize(
    ("licences", "lines"),
    [
        ((), []),
        (("mit",), ['license: "mit"']),
        (("MIT", "mit "), ['license: "mit"']),
        (("mine",), ["license: other", 'license_name: "mine"', "license_link: README.md"]),
        (
            ("mit", "CC BY 4.0\n- x"),
            [
                "license: other",
                'license_name: "cc-by-4.0-x-and-mit"',
                "license_link: README.md",
            ],
        ),
        (("()",), ["license: other", 'license_name: "other"', "license_link: README.md"]),
    ],
)
def test_a_repository_has_one_licence(licences, lines):
    assert licence_lines(licences) == lines


@settings(max_examples=30)
@given(st.dictionaries(st.text(), st.text(min_size=1), max_size=4))
def test_what_was_stated_comes_back(stated):
    line = stated_line(stated)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert stated_in(f"---\n{line}\n---\n") == stated


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"a": 3}', '{"a": ""}', "[" * 10**5])
def test_damage_states_nothing(damage):
    assert stated_in(stated_line({}).replace("{}", damage)) == {}
