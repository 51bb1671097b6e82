"""What `import zoo` gives."""

import subprocess
import sys

import pytest

SCRIPTS = {
    "the package needs no torch": "import zoo, sys; assert 'torch' not in sys.modules",
    "its modules do not hide its functions": (
        "import zoo; zoo.Recipe; import zoo.train, zoo.build, zoo.measure, zoo.worker\n"
        "import zoo.downstream\n"
        "assert all(map(callable, (zoo.train, zoo.build, zoo.measure, zoo.downstream)))"
    ),
    "every public name is there": (
        "import zoo; from zoo import *\n"
        "assert all(callable(globals()[name]) for name in zoo.__all__)\n"
        "assert set(zoo._HOMES) < set(zoo.__all__) and len(zoo.__all__) == 18"
    ),
    "another name is an error": (
        "import zoo\n"
        "try: zoo.nonsense\n"
        "except AttributeError as error: assert 'nonsense' in str(error)\n"
        "else: raise SystemExit('found')"
    ),
}


@pytest.mark.parametrize("law", SCRIPTS)
def test_in_a_fresh_process(law):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPTS[law]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
