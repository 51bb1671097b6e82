"""Fuzzed texts and files where they enter: a message, and nothing else that happens.

`benchmarks/fuzz.py` runs 20,000; here are a twentieth of them, and what shows that the
harness would see what it looks for.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BENCHMARK = HERE.parents[1] / "benchmarks" / "fuzz.py"

WATCHED = """
import os, pickle, subprocess, sys, tempfile
from pathlib import Path
from fuzz_watch import Watch, acting, listing

folder = Path(tempfile.mkdtemp())
inside, outside = folder / "inside", folder / "outside"
for path in (inside, outside):
    path.mkdir()
watch = Watch([inside])
seen = []
def look(action):
    watch.seen = []
    watch.on = True
    try:
        action()
    except (OSError, ValueError):
        pass
    watch.on = False
    seen.append(watch.seen[:1])
deeds = [
    lambda: os.system("true"), lambda: subprocess.run(["true"]), lambda: exec("1"),
    lambda: eval("1"), lambda: pickle.loads(pickle.dumps(print)),
    lambda: (outside / "x").write_text("x"), lambda: (outside / "x").unlink(),
    lambda: (outside / "d").mkdir(), lambda: os.symlink("a", outside / "l"),
    lambda: os.open(str(outside / "y"), os.O_WRONLY | os.O_CREAT),
]
quiet = [
    lambda: (inside / "x").write_text("x"), lambda: (inside / "x").rename(inside / "y"),
    lambda: (inside / "y").unlink(), lambda: (outside / "l").is_symlink(),
    lambda: list(outside.iterdir()), lambda: Path(__import__("os").__file__).read_text(),
]
before = listing(outside)
for deed in (*deeds, *quiet):
    look(deed)
assert listing(outside) != before
assert all(seen[:len(deeds)]), seen
assert not any(seen[len(deeds):]), seen
for text in ("\\x1b[2J", "\\x9b", "\\r", "\\u202e", "\\ufeff", "\\u2028", "a\\u200db"):
    assert acting(text.encode()), repr(text)
assert acting(b"\\xff")
for text in ("plain\\n", "Zürich", "🧑‍💻", r"\\x1b"):
    assert not acting(text.encode()), text
"""


def test_what_should_not_happen_would_be_seen() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], cwd=HERE, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.slow
def test_a_thousand_texts_and_files() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--trials", "1000"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    failed = [line for line in done.stderr.splitlines() if line.startswith("{")]
    assert done.returncode == 0, "\n".join(failed) or done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert len(found["places"]) == 22
    assert found["trials"] >= 980
    assert found["exits"].keys() == {"0", "1", "2"}
    assert min(found["exits"].values()) > 20
