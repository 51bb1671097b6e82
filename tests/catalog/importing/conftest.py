"""A Hub of this machine with models, and imports from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import catalog
from catalog import Catalog
from catalog.formats.format import Tensor
from catalog.formats.safetensors_file import file_blocks
from catalog.importing import ImportSummary
from tests.servers.hub import Hub
from tests.servers.repos import Repo

State = dict[str, Tensor]


def state(seed: int, **shapes: tuple[int, ...]) -> State:
    """Make float32 tensors of noise; by default those of a layer."""
    rng = np.random.default_rng(seed)
    shapes = shapes or {"fc.weight": (3, 2), "fc.bias": (3,)}
    return {
        name: Tensor(rng.normal(size=shape).astype(np.float32), "float32")
        for name, shape in shapes.items()
    }


def packed(tensors: State) -> bytes:
    """Write tensors as a safetensors file."""
    return b"".join(file_blocks(tensors, {}))


class Models:
    """Models of a Hub of this machine, and the catalogue that they are imported into."""

    def __init__(self, hub: Hub, root: Path) -> None:
        self.hub, self.root = hub, root
        self.traffic = hub.traffic

    def add(
        self,
        name: str,
        tensors: State | None = None,
        card: Mapping[str, Any] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Repo:
        """Commit a model, by default one of two tensors in ``model.safetensors``."""
        if ("models", name) not in self.hub.repos:
            self.hub.create(name, "models")
        content = dict(files or {})
        if files is None:
            content["model.safetensors"] = packed(tensors or state(len(self.hub.repos)))
        if card is not None:
            content["README.md"] = f"---\n{json.dumps(card)}\n---\nread\n".encode()
        self.hub.commit(name, content, kind="models")
        return self.hub.repos["models", name]

    def bring(self, *sources: str, **options: Any) -> ImportSummary:
        """Import sources."""
        return catalog.import_source(self.root, sources, **options)

    @property
    def zoo(self) -> Catalog:
        """The catalogue."""
        return catalog.open(self.root)

    def asked(self, pattern: str) -> int:
        """Count the requests for paths."""
        return len(self.traffic.matching(pattern))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Models]:
    constants = pytest.importorskip("huggingface_hub.constants")
    with Hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        yield Models(hub, tmp_path / "zoo")


@pytest.fixture
def failure(models: Models) -> Callable[..., str]:
    """Import one model that fails; return why."""

    def fail(source: str, **options: Any) -> str:
        summary = models.bring(source, **options)
        assert summary.imported == 0
        (reason,) = summary.failed.values()
        return reason

    return fail
