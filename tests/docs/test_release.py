"""A release of the digits zoos, made as users make it, and used by those without torch."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.files import serve_files
from tests.servers.hub import Hub

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BARE = Path(__file__).with_name("only_base_and_probes.py")
PAGE = "# Zoos\n\n<!-- written by docs/zoos_page.py -->\n<!-- end -->\nafter\n"


def run(*command, **environment):
    return subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def make(folder, destination, **environment):
    """Run `make release` with this environment in place of .venv; returns its page."""
    page = folder / "page.md"
    page.write_text(PAGE)
    variables = {
        "BIN": Path(sys.executable).parent,
        "DEST": destination,
        "ZOOS": "digits_mlp_phases digits_mlp_seeds",
        "LIMIT": 96,
        "WORKERS": 2,
        "RELEASE": folder / "work",
        "PAGE": page,
    }
    words = [f"{name}={value}" for name, value in variables.items()]
    done = run("make", "-o", ".venv/installed", "release", *words, **environment)
    assert done.returncode == 0, done.stderr
    return page.read_text(), done.stdout


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A folder with a release in `out of here`, its work and its page."""
    folder = tmp_path_factory.mktemp("a release")
    page, _ = make(folder, folder / "out of here")
    return folder, page


def test_the_page_lists_zoos_and_scores(released):
    _, page = released
    assert page.startswith("# Zoos\n")
    assert page.endswith("<!-- end -->\nafter\n")
    assert "| `digits_mlp_phases` |" in page
    assert "| 96 of 10,000 |" in page
    for probe in ("statistics", "linear", "probex"):
        assert re.search(rf"\| `{probe}` \| -?\d\.\d+ \(-?\d", page), probe
    (phases,) = re.findall(r"\| `digits_mlp_phases` \|.*\| ([^|]*) \|", page)
    assert sum(map(int, re.findall(r": (\d+)", phases))) == 96


def test_again_it_trains_nothing_and_writes_the_same_page(released):
    folder, page = released
    again, told = make(folder, folder / "out of here")
    assert again == page
    assert "digits_mlp_phases: all 96 runs are already in the catalogue" in told
    assert "has everything already" in told


def test_it_goes_to_the_hub(released):
    folder, page = released
    with Hub() as hub:
        environment = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": hub.token,
            "HF_HUB_DISABLE_XET": "1",
            "PHASEZOO_CACHE": str(folder / "cache"),
        }
        there, _ = make(folder, "hf://datasets/tester/zoos", **environment)
    assert scores(there) == scores(page)
    assert identifiers(there) == identifiers(page)


def scores(page):
    return re.findall(r"^\| `(?:statistics|linear|probex)`.*$", page, re.MULTILINE)


def identifiers(page):
    return re.findall(r"`([0-9a-f]{16})`", page)


def test_it_is_used_with_the_base_package_and_probes_alone(released, tmp_path):
    folder, _ = released
    script = ROOT / "docs" / "fetch_and_probe.py"
    with serve_files(folder / "out of here") as url:
        done = run(
            sys.executable, BARE, script, url, tmp_path / "copy",
            PHASEZOO_CACHE=str(tmp_path / "cache"),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "digits_mlp_seeds: 96 networks, 384 checkpoints" in done.stdout
    assert re.search(r"^statistics: r2 \d\.\d+ \(", done.stdout, re.MULTILINE)
    assert re.search(r"^linear: r2 -?\d\.\d+ \(", done.stdout, re.MULTILINE)


def test_the_bare_environment_has_no_torch(tmp_path):
    script = tmp_path / "torches.py"
    for module, status in (("torch", 1), ("huggingface_hub", 1), ("sklearn", 0)):
        script.write_text(f"import {module}\n")
        done = run(sys.executable, BARE, script)
        assert done.returncode == status, module
        assert ("ModuleNotFoundError" in done.stderr) == bool(status), done.stderr


def test_without_a_destination_nothing_is_trained(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = run("make", "-o", ".venv/installed", "release", f"RELEASE={tmp_path / 'work'}")
    assert done.returncode == 2
    assert "make release DEST=FOLDER" in done.stderr
    assert not (tmp_path / "work").exists()
