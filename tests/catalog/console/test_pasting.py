"""A word of a command is one word to a shell, whatever it holds."""

import shlex
import subprocess

from hypothesis import given
from hypothesis import strategies as st

from catalog.console.pasting import word

HOSTILE = [
    "digits", "a b", "it's", 'say "x"', "$(touch /tmp/x)", "`id`", "a;b", "a\nb", "!x", "",
    "back\\slash", "*", "~", "é 网络", "zoo = 'it''s'", "<x>", "#", "a&&b", "--x",
]  # fmt: skip


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_shell_splits_it_into_the_text(text: str) -> None:
    assert shlex.split(f"phasezoo show {word(text)}") == ["phasezoo", "show", text]


def test_sh_itself_reads_the_text() -> None:
    command = "printf '%s\\0' " + " ".join(map(word, HOSTILE))
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == HOSTILE
