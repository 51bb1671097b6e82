"""Every command and every Python block of the README runs, in order."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = re.findall(r"^\$ (phasezoo .*)$", README, re.MULTILINE)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(command, path):
    arguments = [
        str(Path(sys.executable).with_name("phasezoo")),
        *shlex.split(command)[1:],
    ]
    done = subprocess.run(arguments, cwd=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def test_there_is_something_to_run():
    assert len(COMMANDS) >= 7
    assert len(PYTHON) >= 5


def test_following_it(tmp_path):
    """One test, as each step stands on those before; on fewer networks."""
    run("phasezoo train digits_mlp_phases --limit 96 --workers 1", tmp_path)
    for command in COMMANDS:
        assert run(command, tmp_path).strip(), command
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(PYTHON)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "(10, 3466)" in done.stdout
