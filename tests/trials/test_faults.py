"""Every change of a catalogue may end at any of its steps; see `fault_trials.py`.

All of them, and a twentieth, are ``soak.py faults``.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TRIALS = Path(__file__).with_name("fault_trials.py")


def disturb(folder: Path, *numbers: int) -> dict[str, Any]:
    """Run trials in a process of their own, see there; what came of them."""
    done = subprocess.run(
        [sys.executable, str(TRIALS), str(folder), *map(str, numbers)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr[-3000:]}{done.stdout[-1000:]}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_few_faults_lose_nothing(tmp_path: Path) -> None:
    """Which steps they meet changes with the code: that some do harm is asked of many."""
    found = disturb(tmp_path, 3, 1, 12)
    assert sum(found.get(what, 0) for what in ("killed", "refused", "done")) == 3
