"""First words and last characters of the docstrings of all packages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("catalog", "generators", "probes", "zoo")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (ast.Module, ast.ClassDef, *FUNCTIONS)
CLAUSES = {
    *("What", "Which", "Who", "Whose", "Whether", "Where", "When", "How"),
    *("That", "Those", "It", "They", "As", "In", "Of", "On", "To"),
}
"""First words of clauses, which do not say what a docstring describes."""


def docstrings(package: str) -> Iterator[tuple[str, ast.AST, str]]:
    """Yield place, node and text of every docstring of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.get_docstring(node) if isinstance(node, DEFINITIONS) else None
            if text is not None:
                place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
                yield place, node, text


def first_word(text: str) -> str:
    """Return the first word of a text without punctuation."""
    return text.split(maxsplit=1)[0].strip(",:;.") if text.strip() else ""


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_begin_with_a_verb_or_a_noun(package: str) -> None:
    """A docstring names the thing or the action that it describes."""
    places = [
        f"{place}: {text.splitlines()[0]}"
        for place, _, text in docstrings(package)
        if first_word(text) in CLAUSES
    ]
    assert not places, "begin with a verb or a noun:\n" + "\n".join(places)


@pytest.mark.parametrize("package", PACKAGES)
def test_short_docstrings_of_public_functions_are_sentences(package: str) -> None:
    """A docstring of one paragraph ends with a period."""
    places = [
        f"{place}: {text}"
        for place, node, text in docstrings(package)
        if isinstance(node, FUNCTIONS) and not node.name.startswith("_")
        if "\n\n" not in text and not text.endswith(".")
    ]
    assert not places, "end with a period:\n" + "\n".join(places)


def test_every_package_has_docstrings() -> None:
    """Both tests above would pass if they found no modules."""
    assert all(sum(1 for _ in docstrings(package)) > 100 for package in PACKAGES)
