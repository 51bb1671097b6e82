"""One registry for all kinds: exports of ours, entry points of others."""

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from catalog import CatalogError, NotFound
from catalog.console.program import VERBS
from catalog.errors import BrokenPlugin
from catalog.formats import FORMATS
from catalog.formats.export import EXPORTS
from catalog.plugins import registry
from catalog.plugins.registry import Registry
from generators.calibration import CALIBRATIONS
from generators.methods import METHODS
from generators.nulls import NULLS
from probes.estimators import PROBES
from probes.text import TEXT_PROBES
from probes.text.encoders import ENCODERS
from zoo.architectures import ARCHITECTURES
from zoo.metrics import METRICS
from zoo.objectives import OBJECTIVES
from zoo.recipes import RECIPES
from zoo.tasks import TASKS

ALL: list[Registry[Any]] = [
    ARCHITECTURES, CALIBRATIONS, ENCODERS, EXPORTS, FORMATS, METHODS, METRICS, NULLS,
    OBJECTIVES, PROBES, RECIPES, TASKS, TEXT_PROBES, VERBS,
]  # fmt: skip


class Tool:
    """A kind of thing, and one of its things."""

    name = "saw"


class Saw(Tool):
    pass


class Drill(Tool):
    name = "drill"


@pytest.fixture
def announce(monkeypatch: Any) -> Any:
    """Install entry points, as another distribution would."""

    def announced(*points: tuple[str, str, object]) -> None:
        module = ModuleType("theirs")
        found: dict[str, list[EntryPoint]] = {}
        for name, attribute, value in points:
            setattr(module, attribute, value)
            point = EntryPoint(name, f"theirs:{attribute}", "phasezoo.tools")
            found.setdefault(name, []).append(point)
        monkeypatch.setitem(sys.modules, "theirs", module)
        monkeypatch.setattr(registry, "_announced", lambda group: found)

    return announced


@pytest.fixture
def tools(monkeypatch: Any, announce: Any) -> Registry[type[Tool]]:
    """Tools of a package that exports one."""
    package = ModuleType("ours")
    vars(package).update(Tool=Tool, Saw=Saw, other=3)
    monkeypatch.setitem(sys.modules, "ours", package)
    announce()
    return Registry("tool", Tool, "ours")


def test_an_export_is_a_registration(tools: Registry[type[Tool]]) -> None:
    assert dict(tools) == {"saw": Saw}
    assert ("saw" in tools, "drill" in tools, len(tools)) == (True, False, 1)


def test_others_announce_theirs(tools: Registry[type[Tool]], announce: Any) -> None:
    announce(("drill", "Drill", Drill))
    assert dict(tools) == {"drill": Drill, "saw": Saw}


def test_nothing_of_others_is_imported_before_it_is_asked_for(
    tools: Registry[type[Tool]], announce: Any, monkeypatch: Any
) -> None:
    announce(("drill", "Drill", Drill))
    monkeypatch.setitem(sys.modules, "theirs", None)  # an import of it fails
    assert list(tools) == ["drill", "saw"]
    assert tools["saw"] is Saw
    with pytest.raises(BrokenPlugin, match=r"tool 'drill' of .* cannot be loaded"):
        tools["drill"]


@pytest.mark.parametrize("kind", ["missing module", "missing name", "wrong kind", "twice"])
def test_what_cannot_be_loaded_is_told_and_the_rest_is_usable(
    tools: Registry[type[Tool]], announce: Any, monkeypatch: Any, kind: str
) -> None:
    points: list[tuple[str, str, object]] = [("drill", "Drill", Drill)]
    points += {"wrong kind": [("hammer", "Hammer", 3)]}.get(kind, [("hammer", "H", Drill)])
    announce(*points, *([points[-1]] if kind == "twice" else []))
    if kind == "missing name":
        monkeypatch.delattr(sys.modules["theirs"], "H")
    told: list[str] = []
    if kind == "missing module":
        monkeypatch.setitem(sys.modules, "theirs", None)
        assert set(tools.usable(told.append)) == {"saw"}
        assert len(told) == 2
    else:
        assert set(tools.usable(told.append)) == {"saw", "drill"}
        assert len(told) == 1
    assert "hammer" in told[-1]
    assert "theirs:" in told[-1]


def test_a_missing_library_of_ours_stays_what_it_is(monkeypatch: Any) -> None:
    (point,) = (p for p in registry._announced("phasezoo.formats")["state_dict"])
    monkeypatch.setitem(sys.modules, "zoo.formats.state_dict", None)
    assert point.dist is not None
    with pytest.raises(ModuleNotFoundError):
        FORMATS["state_dict"]


def test_a_wrong_name_is_told_with_the_closest(tools: Registry[type[Tool]]) -> None:
    with pytest.raises(NotFound, match=r"No tool 'sow'\. .*saw"):
        tools["sow"]


@pytest.mark.parametrize("names", [["saw"], ["drill", "drill"]])
def test_one_name_for_two_things_is_an_error(
    tools: Registry[type[Tool]], announce: Any, names: list[str]
) -> None:
    announce(*((name, "Drill", Drill) for name in names))
    with pytest.raises(CatalogError, match=r"Several tools are called .*Uninstall all but"):
        tools[names[0]]


def test_another_kind_of_thing_is_an_error(
    tools: Registry[type[Tool]], announce: Any
) -> None:
    announce(("drill", "Drill", Registry))
    with pytest.raises(CatalogError, match=r"drill = theirs:Drill .* must be a Tool\."):
        tools["drill"]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.what)
def test_every_kind_can_be_extended(kind: Registry[Any], announce: Any) -> None:
    before = dict(kind)
    assert before
    announce(("another_one", "Another", next(iter(before.values()))))
    assert "another_one" in kind
    assert kind["another_one"] is next(iter(before.values()))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.what)
def test_things_are_called_as_they_say(kind: Registry[Any]) -> None:
    for name, thing in kind.items():
        assert getattr(thing, "name", name) in (name, thing.__class__, name.strip("_"))


def test_each_kind_has_a_group_of_its_own() -> None:
    groups = {kind.group for kind in ALL}
    assert len(groups) == len(ALL)
    assert all(re.fullmatch(r"\w+(\.\w+)*", group) for group in groups)
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    assert all(f".{group.split('.')[1]}`" in readme for group in groups)
