"""Text from files stays text: the oracle is a parser of Markdown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.card.markdown import block, code, escaped, table
from catalog.printable import printable

HOSTILE = (
    "a|b", "`", "``x` |", "<script>alert(1)</script>", "<!-- ", "-->", "[a](javascript:b)",
    "![a](https://b)", "https://evil.example", "www.evil.example", "<https://a>", "_a_",
    "**a**", "~~a~~", "a\\", "\\|", "&lt;", "# a", "- a", "1. a", "---", "\x1b[2J",
    "\u202ea", "a\n\n# b", " a ", "a  ", "", "$x$", "{{ a }}", "a@b.example", "\u200b",
    "é 网络 🦊",
)  # fmt: skip
TEXTS = st.sampled_from(HOSTILE) | st.text(max_size=20)
INLINE = {"text", "code_inline", "html_inline", "text_special"}


def inline(markdown: str) -> tuple[str, list[str]]:
    """What a reader of one line sees, and the kinds of what is in it."""
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    children = parser.parseInline(markdown)[0].children
    shown = "".join(c.content for c in children if c.type != "html_inline")
    return shown, [c.type for c in children]


@settings(max_examples=50)
@given(TEXTS)
def test_text_is_shown_as_it_is(text: str) -> None:
    for write in (escaped, code):
        shown, kinds = inline("x" + write(text) + "x")
        assert set(kinds) <= INLINE, (write(text), kinds)
        wanted = printable(text)
        assert shown.strip("x").split() == wanted.strip("x").split()


@settings(max_examples=40)
@given(st.lists(TEXTS, min_size=6, max_size=6))
def test_a_table_keeps_its_cells(texts: list[str]) -> None:
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    rows = [[code(text) for text in texts[:3]], [escaped(text) for text in texts[3:]]]
    tokens = parser.parse("\n".join(table(["a", "b", "c"], rows)))
    kinds = [token.type for token in tokens]
    assert kinds.count("td_open") == 6
    assert kinds[-1] == "table_close"
    assert not {"html_block", "heading_open", "list_item_open"} & set(kinds)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_address_becomes_a_link(text: str) -> None:
    for write in (escaped, code):
        assert "://" not in escaped(text)
        shown, kinds = inline(write(text))
        assert "link_open" not in kinds, shown


@settings(max_examples=40)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_a_block_of_code_is_one_block(lines: list[str]) -> None:
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark")
    tokens = parser.parse("\n".join(["text", "", *block("first", *lines), "end"]))
    kinds = [token.type for token in tokens]
    assert kinds == [
        *("paragraph_open", "inline", "paragraph_close", "code_block"),
        *("paragraph_open", "inline", "paragraph_close"),
    ]
