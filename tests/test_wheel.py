"""The built wheel works in a bare environment, outside the checkout."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The command `phasezoo` of a new environment that has the wheel and its needs."""
    folder = tmp_path_factory.mktemp("wheel")
    root = Path(__file__).parent.parent
    build = [sys.executable, "-m", "build", "--wheel", "-o", str(folder), str(root)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=True)
    pip = [str(folder / "env/bin/pip"), "install", "--quiet", "-c", "constraints.txt"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, cwd=root)
    return folder / "env/bin/phasezoo"


def run(bare, *arguments):
    return subprocess.run(
        [str(bare), *arguments],
        cwd=bare.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_reads_a_catalogue_without_torch(bare):
    copy = shutil.copytree(Path(__file__).parent / "golden" / "v1", bare.parent / "v1")
    done = run(
        bare, "sql", "SELECT count(*) > 0 AS full FROM models", "--catalog", str(copy)
    )
    assert done.returncode == 0, done.stderr
    assert "true" in done.stdout


def test_it_says_what_to_install_for_training(bare):
    done = run(bare, "train", "digits_mlp_phases")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: This command needs torch")
    assert "pip install 'phasezoo[train]'" in done.stderr
