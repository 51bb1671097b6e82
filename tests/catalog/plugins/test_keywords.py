"""Functions that take the fields of a record show them."""

import inspect

import pytest

import zoo
from generators.generating.generate import generate
from probes.fitting.fit import fit_probe


@pytest.mark.parametrize(
    ("function", "keyword", "default"),
    [
        (zoo.train, "limit", None),
        (zoo.measure, "seed", 0),
        (zoo.downstream, "steps", "last"),
        (generate, "n", 100),
        (fit_probe, "by", "run"),
    ],
)
def test_every_keyword_is_shown_with_its_default(function, keyword, default):
    parameters = inspect.signature(function).parameters
    assert parameters[keyword].default == default
    assert inspect.Parameter.VAR_KEYWORD not in {p.kind for p in parameters.values()}


def test_an_unknown_keyword_is_refused(tmp_path):
    with pytest.raises(TypeError, match="limitt"):
        zoo.train("digits_mlp_phases", tmp_path, limitt=3)
