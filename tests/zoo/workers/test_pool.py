"""Worker processes: what they import, and how they end."""

import sys
from pathlib import Path
from queue import Queue

from zoo.workers.pool import _Worker


def test_a_worker_takes_no_module_from_the_folder_it_runs_in(
    tmp_path: Path, monkeypatch, started_workers
) -> None:
    """A stranger's catalogue may hold a file called as a library is."""
    for name in ("numpy", "json", "catalog"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')\n")
    package = str(Path(sys.modules["zoo"].__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", package)
    monkeypatch.chdir(tmp_path)
    worker = _Worker("catalog.version", {}, Queue())
    worker.dismiss()
    assert worker.process.wait(60) == 0
    worker.end()
    assert not (tmp_path / "ran").exists()
