"""Every command of the README is understood; those after a prompt, and Python, run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from catalog.console.program import phasezoo

README = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = re.findall(r"^\$ (phasezoo .*)$", README, re.MULTILINE)
LONG = re.findall(r"^    (phasezoo .*)$", README.replace("\\\n", ""), re.MULTILINE)
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


@pytest.mark.parametrize("command", COMMANDS + LONG)
def test_its_commands_are_understood(command):
    """Verbs, options and their values; nothing runs."""
    own, arguments = phasezoo, shlex.split(command)[1:]
    with click.Context(phasezoo, info_name="phasezoo") as context:
        while isinstance(own, click.Group) and not arguments[0].startswith("-"):
            name, own, arguments = own.resolve_command(context, arguments)
        own.make_context(name, arguments, parent=context)


@pytest.mark.slow
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
