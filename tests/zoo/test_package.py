"""What `import zoo` gives."""

import subprocess
import sys

SCRIPT = """
import sys, zoo
assert "torch" not in sys.modules
try: zoo.nonsense
except AttributeError as error: assert "nonsense" in str(error)
else: raise SystemExit("found")

# No module has the name of a function.
zoo.Recipe
import zoo.training.train, zoo.modules.build, zoo.measuring.measure
assert all(map(callable, (zoo.train, zoo.build, zoo.measure, zoo.downstream)))

# Every public name is there.
from zoo import *
assert all(callable(globals()[name]) for name in zoo.__all__)
assert set(zoo._HOMES) < set(zoo.__all__) and len(zoo.__all__) == 24
"""


def test_in_a_fresh_process():
    """It needs no torch, gives every public name, and refuses any other."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
