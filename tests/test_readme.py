"""Every command of the README is understood; those after a prompt, and Python, run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pytest

import catalog
from catalog import Layout, Param, Population
from catalog.console.program import main, phasezoo
from tests.servers.hub import Hub

README = (Path(__file__).parent.parent / "README.md").read_text()
PROMPTED = re.findall(r"^\$ (phasezoo .*)$", README, re.MULTILINE)
REMOTE = [command for command in PROMPTED if "hf://datasets/USER/NAME" in command]
# A download makes the folder `zoo`; the other commands train and use `phasezoo-data`.
DOWNLOAD = [
    command for command in PROMPTED if command in REMOTE or "--catalog zoo" in command
]
COMMANDS = [command for command in PROMPTED if command not in DOWNLOAD]
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
    assert len(DOWNLOAD) >= 3
    assert README.index(DOWNLOAD[0]) < 2500  # on the first screen
    assert len(PYTHON) >= 5


@pytest.mark.parametrize("command", PROMPTED + LONG)
def test_its_commands_are_understood(command):
    """Verbs, options and their values; nothing runs."""
    own, arguments = phasezoo, shlex.split(command)[1:]
    with click.Context(phasezoo, info_name="phasezoo") as context:
        while isinstance(own, click.Group) and not arguments[0].startswith("-"):
            name, own, arguments = own.resolve_command(context, arguments)
        own.make_context(name, arguments, parent=context)


def digits(root):
    """A catalogue of a few networks that is called as a recipe."""
    zoo, layout = catalog.open(root, create=True), Layout((Param("w", (3,), (None,)),))
    ids = [f"run-{i}" for i in range(6)]
    runs = {"run_id": ids, "zoo": ["digits_mlp_phases"] * 6, "source": ["trained"] * 6}
    runs |= {"steps": [10] * 6}
    checkpoints = {"run_id": ids, "step": [10] * 6, "test_accuracy": [0.5, 0.75] * 3}
    table = pa.table(checkpoints)
    weights = {"w": np.arange(18, dtype=np.float32).reshape(6, 3)}
    phases = [{"run_id": run, "step": 10, "phase": "II"} for run in ids]
    with zoo.writer() as writer:
        population = Population.from_tensors(weights, layout, table)
        writer.commit(pa.table(runs), table, population)
        writer.commit_measures(pa.Table.from_pylist(phases), "phases", {"seed": 0})
    return zoo.refreshed()


def test_its_download(tmp_path, monkeypatch, capsys):
    """The commands of the first screen, against a Hub on this machine."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHASEZOO_CACHE", str(tmp_path / "cache"))
    with Hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        zoo = digits(tmp_path / "phasezoo-data")
        catalog.publish(zoo, "hf://datasets/tester/zoo", license="mit")
        printed = []
        for command in DOWNLOAD:
            arguments = shlex.split(command.replace("USER/NAME", "tester/zoo"))[1:]
            with pytest.raises(SystemExit) as end:
                main(arguments)
            assert end.value.code == 0, command
            printed.append(capsys.readouterr().out)
    assert "0.625" in printed[0]
    copy = catalog.open(tmp_path / "zoo")
    np.testing.assert_array_equal(copy.read_tensor("w"), zoo.read_tensor("w"))


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
