"""A Hub, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .hub import Hub


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def api(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Any:
    hub_of = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    return hub_of.HfApi(endpoint=hub.endpoint, token=hub.token)
