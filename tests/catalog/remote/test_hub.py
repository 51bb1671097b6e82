"""What `datasets` reads from a published catalogue is what is in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalog import Catalog
from catalog.remote.publish import Publish

SCRIPT = """
import json
from datasets import load_dataset
of = dict(path="tester/zoo", split="train", streaming=True)
checkpoints = load_dataset(name="checkpoints", **of)
keys = sorted((row["run_id"], row["step"]) for row in checkpoints)
weights = load_dataset(name=CONFIGURATION, **of)
tensors = {row["pz_run_id"]: row["fc.weight"] for row in weights}
models = [[row["run_id"], row["step"], row["zoo"]] for row in load_dataset(**of)]
print(json.dumps([keys, tensors, models]))
"""


@pytest.mark.slow
def test_datasets_streams_metadata_and_weights(
    zoo: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    pytest.importorskip("datasets")
    from tests.servers.hub import Hub

    with Hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        Publish(zoo, "hf://datasets/tester/zoo", license="mit", private=True).run()
        assert hub.repos["datasets", "tester/zoo"].private
        (arch,) = {m.arch_id for m in zoo.snapshot.manifests if m.arch_id}
        settings = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": hub.token,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        }
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.replace("CONFIGURATION", repr(arch))],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    keys, tensors, models = json.loads(done.stdout.splitlines()[-1])
    query = "SELECT run_id, step, zoo FROM models ORDER BY ALL"
    assert [tuple(row) for row in models] == zoo.sql(query).fetchall()
    query = "SELECT run_id, step FROM models ORDER BY ALL"
    assert [tuple(key) for key in keys] == zoo.sql(query).fetchall()
    stored = zoo.read_tensor("fc.weight", "true ORDER BY run_id")
    assert len(tensors) == len(stored) == 5
    for values, expected in zip((tensors[k] for k in sorted(tensors)), stored, strict=True):
        assert repr(values) == repr(expected.reshape(-1).tolist())
