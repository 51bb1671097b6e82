"""Settings: one table of texts and values, that every verb with ``--set`` agrees with."""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import generators.methods
import probes.estimators
import zoo.metrics
from catalog import CatalogError, NotFound
from catalog.console.program import main
from catalog.errors import BadSetting
from catalog.names import canonical_json
from catalog.plugins.parameters import Parameter, parameters
from catalog.plugins.settings import checked, parse
from catalog.printable import printable
from generators.generator import Generator
from generators.registry import generator_named
from probes.fitting.settings import probe_named
from probes.probe import Probe
from zoo.metric import Metric
from zoo.metrics.settings import with_settings


@dataclass(frozen=True)
class Pace:
    """A record: a whole number and a share of it."""

    steps: int = 8
    share: float = 0.5
    kind: Literal["slow", "fast"] = "slow"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1. Got {self.steps}.")


KINDS: dict[str, tuple[Any, Any]] = {
    "flag": (bool, False),
    "whole": (int, 3),
    "number": (float, 0.5),
    "text": (str, "a"),
    "maybe_whole": (int | None, None),
    "maybe_number": (float | None, None),
    "maybe_text": (str | None, None),
    "choice": (Literal["mean", "cycle"], "mean"),
    "maybe_choice": (Literal["mean", "cycle"] | None, None),
    "texts": (Sequence[str], ()),
    "numbers": (Sequence[float] | None, None),
    "pair": (tuple[float, float], (0.0, 1.0)),
    "glob": (str | Sequence[str], "*"),
    "switch": (bool | Sequence[str] | None, None),
    "sizes": (Mapping[str, Any] | None, None),
    "pace": (Pace | None, None),
    "any": (Any, None),
}
"""Annotation and default by the name of the setting."""

FITS: list[tuple[str, str, Any]] = [
    ("flag", "true", True),
    ("flag", "True", True),
    ("flag", "FALSE", False),
    ("whole", "20", 20),
    ("whole", "-1", -1),
    ("whole", "1_000", 1000),
    ("number", "1", 1),
    ("number", ".5", 0.5),
    ("number", "1e-4", 1e-4),
    ("text", "1", "1"),
    ("text", "true", "true"),
    ("text", "null", "null"),
    ("text", "", ""),
    ("text", "a=b", "a=b"),
    ("text", "[a]*", "[a]*"),
    ("text", '"1"', "1"),
    ("text", "网络", "网络"),
    ("maybe_whole", "none", None),
    ("maybe_whole", "null", None),
    ("maybe_whole", "4", 4),
    ("maybe_number", "None", None),
    ("maybe_number", "4", 4),
    ("maybe_text", "null", None),
    ("maybe_text", '"null"', "null"),
    ("maybe_text", "4", "4"),
    ("choice", "cycle", "cycle"),
    ("maybe_choice", "null", None),
    ("texts", '["lr"]', ["lr"]),
    ("texts", "[]", []),
    ("numbers", "[1, 0.5]", [1, 0.5]),
    ("pair", "[0.9, 0.99]", (0.9, 0.99)),
    ("glob", "head.*", "head.*"),
    ("glob", '["a", "b"]', ["a", "b"]),
    ("switch", "false", False),
    ("switch", '["a"]', ["a"]),
    ("sizes", '{"width": 64}', {"width": 64}),
    ("pace", '{"steps": 5}', Pace(5)),
    ("pace", '{"share": 1, "kind": "fast"}', Pace(share=1, kind="fast")),
    ("any", "1.5", 1.5),
    ("any", "mean", "mean"),
    ("any", "True", True),
]
DOES_NOT: list[tuple[str, str, str]] = [
    ("flag", "1", "must be true or false. Got '1'"),
    ("flag", "yes", "must be true or false"),
    ("whole", "many", "must be a whole number. Got 'many'"),
    ("whole", "2.0", "must be a whole number"),
    ("whole", "true", "must be a whole number"),
    ("whole", "null", "must be a whole number"),
    ("whole", "9" * 5000, "must be a whole number"),
    ("number", "foo", "must be a finite number"),
    ("number", "nan", "must be a finite number"),
    ("number", "Infinity", "must be a finite number"),
    ("number", "9" * 400, "must be a finite number"),
    ("maybe_number", "foo", "must be a finite number or null. Got 'foo'"),
    ("maybe_number", "true", "must be a finite number or null"),
    ("maybe_whole", "1.5", "must be a whole number or null"),
    ("text", "\udc80", "must be text"),
    ("choice", "median", "must be 'mean' or 'cycle'. Got 'median'"),
    ("choice", "null", "must be 'mean' or 'cycle'"),
    ("texts", "lr", """must be a list of texts. Got 'lr'. Pass, for example, --set '"""),
    ("texts", "[1]", "must be a list of texts"),
    ("numbers", '["1"]', "must be a list of finite numbers or null"),
    ("numbers", "[NaN]", "must be a list of finite numbers or null"),
    ("pair", "[0.9]", "must be a list of 2: a finite number, a finite number"),
    ("switch", "maybe", "must be true, false, a list of texts or null"),
    ("sizes", "64", "must be an object or null"),
    ("pace", "quick", "must be an object with fields of steps, share, kind or null"),
    ("pace", '{"step": 5}', "pace has no field 'step'. Closest: steps"),
    ("pace", '{"steps": "5"}', "pace.steps of"),
    ("pace", '{"kind": "quick"}', "must be 'slow' or 'fast'. Got 'quick'"),
    ("pace", '{"steps": 0}', "steps must be at least 1. Got 0"),
    ("whole", "\x1b[2J\u202e", r"must be a whole number. Got '\x1b[2J\u202e'"),
    ("whole", "[" * 100_000, "must be a whole number"),
]


def toy(base: type) -> Any:
    """Return a class with all kinds of settings, which does nothing."""
    fields = [(name, kind, field(default=own)) for name, (kind, own) in KINDS.items()]
    about = {"name": "toy", "summary": "a toy", "columns": ()}
    made: Any = make_dataclass(
        "Toy", fields, bases=(base,), namespace=about, frozen=base is Metric, eq=False
    )
    made.__abstractmethods__ = frozenset()
    return made


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo.metrics, "toy", toy(Metric)(), raising=False)
    monkeypatch.setattr(probes.estimators, "toy", toy(Probe), raising=False)
    monkeypatch.setattr(generators.methods, "toy", toy(Generator), raising=False)


def of_metric(settings: Any) -> Any:
    if isinstance(settings, Mapping):
        settings = {f"toy.{name}": value for name, value in settings.items()}
    else:
        settings = [f"toy.{text}" for text in settings]
    return with_settings(["toy"], settings)[0]


MAKERS: dict[str, Callable[[Any], Any]] = {
    "measure": of_metric,
    "probe": lambda settings: probe_named("toy", settings),
    "generate": lambda settings: generator_named("toy", settings),
}


def asked(verb: str, setting: str) -> list[str]:
    """Return the arguments of a verb with one setting."""
    return {
        "measure": ["measure", "z", "--metric", "toy", "--set", f"toy.{setting}"],
        "probe": ["probe", "toy", "--target", "y", "--set", setting],
        "generate": ["generate", "toy", "--set", setting],
    }[verb]


def plain(value: Any) -> Any:
    """Return a value with its type, but that an int is a number too."""
    if isinstance(value, list | tuple):
        return type(value), [plain(one) for one in value]
    return (float if type(value) is int else type(value)), value


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(("name", "text", "value"), FITS, ids=lambda v: str(v)[:20])
@pytest.mark.parametrize("verb", MAKERS)
def test_a_text_has_one_meaning_in_every_verb(
    verb: str, name: str, text: str, value: Any
) -> None:
    found = getattr(MAKERS[verb]([f"{name}={text}"]), name)
    assert plain(found) == plain(value)
    again = getattr(MAKERS[verb]({name: value}), name)  # as Python passes it
    assert plain(again) == plain(value)


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(("name", "text", "told"), DOES_NOT, ids=lambda v: str(v)[:20])
@pytest.mark.parametrize("verb", MAKERS)
def test_what_cannot_be_is_refused_alike_before_a_catalogue_is_opened(
    verb: str, name: str, text: str, told: str, tmp_path: Path, capsys: Any
) -> None:
    none = tmp_path / "no catalogue"
    with pytest.raises(SystemExit) as ended:
        main([*asked(verb, f"{name}={text}"), "--catalog", str(none)])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (1, "")
    assert told in err
    assert all(printable(line) == line for line in err.split("\n"))
    assert not none.exists()
    with pytest.raises(CatalogError):
        MAKERS[verb]([f"{name}={text}"])


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("verb", MAKERS)
def test_what_to_paste_is_accepted(verb: str) -> None:
    for name, text, _ in DOES_NOT:
        with pytest.raises(CatalogError) as raised:
            MAKERS[verb]([f"{name}={text}"])
        _, found, pasted = str(raised.value).partition("Pass, for example, --set ")
        if found and text.isprintable():
            (setting,) = shlex.split(pasted)
            MAKERS[verb]([setting.removeprefix("toy.")])


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("verb", MAKERS)
def test_names_are_refused_with_the_closest(verb: str) -> None:
    with pytest.raises(NotFound, match=r"has no parameter 'hole'. Closest: whole"):
        MAKERS[verb](["hole=1"])
    with pytest.raises(NotFound, match="has no parameter 'hole'"):
        MAKERS[verb]({"hole": 1})
    for text in ("whole", ""):
        with pytest.raises(CatalogError, match=r"--set takes .*=VALUE\. Got"):
            MAKERS[verb]([text])
    assert MAKERS[verb](["whole=1", "whole=2"]).whole == 2  # as of any option


@pytest.mark.usefixtures("toys")
def test_values_of_python_have_their_type_already() -> None:
    for name, value in (
        ("whole", "20"), ("whole", 2.0), ("whole", True), ("flag", 1), ("flag", "true"),
        ("number", "1"), ("number", math.nan), ("number", math.inf), ("text", 1),
        ("texts", "lr"), ("maybe_whole", "none"), ("pace", {"steps": "5"}),
    ):  # fmt: skip
        for make in MAKERS.values():
            with pytest.raises(BadSetting, match=r"must be .* Got .*--set"):
                make({name: value})
    for make in MAKERS.values():
        made = make({"whole": np.int64(3), "number": np.float32(0.5), "pace": Pace(2)})
        assert [type(v) for v in (made.whole, made.number)] == [int, float]
        assert made.pace == Pace(2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda own: st.lists(own, max_size=3) | st.dictionaries(st.text(), own, max_size=3),
    max_leaves=5,
)  # fmt: skip
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
CHOICES = st.sampled_from(["mean", "cycle"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "flag": st.booleans(),
    "whole": st.integers(),
    "number": FLOATS | st.integers(-(2**70), 2**70),
    "text": st.text(),
    "maybe_whole": st.none() | st.integers(),
    "maybe_number": st.none() | FLOATS,
    "maybe_text": st.none() | st.text() | st.sampled_from(["null", "None", "true", "1"]),
    "choice": CHOICES,
    "maybe_choice": st.none() | CHOICES,
    "texts": st.lists(st.text()),
    "numbers": st.none() | st.lists(FLOATS),
    "pair": st.tuples(FLOATS, FLOATS),
    "glob": st.text() | st.lists(st.text()),
    "switch": st.none() | st.booleans() | st.lists(st.text()),
    "sizes": st.none() | st.dictionaries(st.text(), JSON),
    "any": JSON,
}
KNOWN = {name: Parameter(*own) for name, own in KINDS.items()}


@given(st.data(), st.sampled_from(sorted(VALUES)))
def test_what_is_stored_is_read_back_as_the_same(data: st.DataObject, name: str) -> None:
    value = data.draw(VALUES[name])
    (found,) = checked(KNOWN, parse([f"{name}={canonical_json(value)}"]), "it").values()
    assert (found, type(found)) == (value, type(value))
    assert canonical_json(found) == canonical_json(value)
    assert checked(KNOWN, {name: found}, "it") == {name: found}


@given(st.sampled_from(sorted(KINDS)), st.text() | JSON.map(json.dumps))
def test_any_text_is_a_value_or_an_error_that_is_printable(name: str, text: str) -> None:
    told = ""
    try:
        found = checked(KNOWN, parse([f"{name}={text}"]), "it")
    except CatalogError as error:
        told = str(error)
    assert printable(told) == told
    assert told or checked(KNOWN, found, "it") == found


def test_parameters_are_those_of_functions_classes_and_records() -> None:
    def function(a: int, *rest: int, b: Pace | None = None, **more: int) -> None: ...

    assert parameters(function) == {"a": Parameter(int), "b": Parameter(Pace | None, None)}
    assert parameters(Pace(steps=2), without=["kind"]) == {
        "steps": Parameter(int, 2),
        "share": Parameter(float, 0.5),
    }

    class Untyped:
        def __init__(self, a, b: Absent = 1, c: int = 2) -> None: ...  # type: ignore # noqa

    found = parameters(Untyped)
    assert [p.kind for p in found.values()] == [Any, Any, int]
    assert checked(Untyped, parse(["a=x", "b=[1]", "c=3"]), "it") == {
        "a": "x",
        "b": [1],
        "c": 3,
    }


def test_a_record_needs_its_fields() -> None:
    made = make_dataclass("Size", [("width", int)])
    own = {"size": Parameter(made)}
    assert checked(own, parse(['size={"width": 3}']), "it") == {"size": made(3)}
    with pytest.raises(BadSetting, match="size needs the field 'width'"):
        checked(own, parse(["size={}"]), "it")


def test_checking_needs_no_torch() -> None:
    code = (
        "import sys; from catalog.plugins.settings import checked, parse; "
        "checked(print, parse(['sep=a']), 'print'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
