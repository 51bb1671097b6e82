"""Every command and every Python block of the README runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = re.findall(r"^\$ (phasezoo .*)$", README, re.MULTILINE)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the README's second section was followed, on fewer networks."""
    path = tmp_path_factory.mktemp("readme")
    run("phasezoo train digits_mlp_phases --limit 96 --workers 1", path)
    return path


def run(command, path):
    arguments = [
        str(Path(sys.executable).with_name("phasezoo")),
        *shlex.split(command)[1:],
    ]
    done = subprocess.run(arguments, cwd=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_is_something_to_run():
    assert len(COMMANDS) >= 7
    assert len(PYTHON) >= 5


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, folder):
    assert run(command, folder).strip()


def test_python_blocks_run_in_order(folder):
    script = "\n".join(PYTHON)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "(10, 3466)" in done.stdout
