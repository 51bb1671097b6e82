"""Benchmarks of metrics run, and both of their sides measure the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def quick(name):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / f"{name}.py", "--quick"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_hessian_is_that_of_one_network_at_a_time():
    found = quick("hessian")
    assert found["worst_top_eig_error"]["ours"] < 1e-3
    assert found["worst_top_eig_error"]["one_by_one"] < 0.1  # its own tolerance is loose
    assert min(found["seconds"].values()) > 0


@pytest.mark.slow
def test_curves_are_those_of_one_at_a_time():
    found = quick("connectivity")
    means = found["mean_connectivity"]
    assert all(abs(means[side] - means["stacked"]) < 0.2 for side in means)
    assert min(found["seconds"].values()) > 0
