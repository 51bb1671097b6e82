"""Every change of a catalogue may end at any of its steps; see `fault_trials.py`.

All of them, and a twentieth, are ``soak.py faults``.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TRIALS = Path(__file__).with_name("fault_trials.py")


def disturb(folder: Path, trials: int, seed: int) -> dict[str, Any]:
    """Run trials in a process of their own; what came of them."""
    done = subprocess.run(
        [sys.executable, str(TRIALS), str(folder), str(trials), str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr[-3000:]}{done.stdout[-1000:]}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_few_faults_lose_nothing(tmp_path: Path) -> None:
    found = disturb(tmp_path, trials=8, seed=1)
    assert found["killed"] + found["refused"] > 2
