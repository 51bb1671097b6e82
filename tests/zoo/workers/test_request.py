"""Requests: their ranges, their way to the workers, and their options."""

from dataclasses import replace

import pytest

from catalog import CatalogError
from catalog.console.options import options_in
from zoo.cli import downstream, measure, train
from zoo.measuring.request import DownstreamRequest, MeasureRequest
from zoo.metrics.scores import scores
from zoo.recipes import RECIPES
from zoo.training.request import TrainRequest

RECORDS = [
    (train, TrainRequest),
    (measure, MeasureRequest),
    (downstream, DownstreamRequest),
]


@pytest.mark.parametrize(("verb", "record"), RECORDS)
def test_options_have_the_defaults_and_meanings_of_the_record(verb, record):
    options = {option.name: option for option in verb.params}
    request = record("any", "any")
    declared = options_in(record)
    assert {"data", "workers", "device"} < declared.keys()
    for name, described in declared.items():
        assert options[name].default == getattr(request, name)
        assert options[name].help == described.meaning


@pytest.mark.parametrize(
    ("record", "field", "message"),
    [
        (TrainRequest, {"limit": 0}, "--limit must be 1 or more. Got 0"),
        (TrainRequest, {"memory": "much"}, "--memory must be a size such as 4GB"),
        (MeasureRequest, {"seed": -1}, "--seed must be 0 or more. Got -1"),
        (
            DownstreamRequest,
            {"steps": "first"},
            "--steps must be one of all, last. Got 'first'",
        ),
    ],
)
def test_what_needs_no_catalogue_is_checked_at_once(record, field, message):
    with pytest.raises(CatalogError, match=message):
        record("any", "any", **field)


def test_workers_make_the_same_request(tmp_path):
    recipe = RECIPES["digits_mlp_seeds"]
    for asked in (recipe, recipe.name):
        request = TrainRequest(asked, tmp_path, data=tmp_path, memory="2GB", workers=2)
        again = TrainRequest.from_json(request.to_json())
        assert again.to_json() == request.to_json()
        assert again.loaded_recipe().to_json() == recipe.to_json()
        assert request.setup()["memory"] == 1 << 30
    few = replace(scores, samples=5)
    request = MeasureRequest.of("here", "tiny", ["noise", few], seed=3)
    assert MeasureRequest.from_json(request.to_json()).metric_of()["scores"] == few


def test_a_request_without_metrics_names_its_suite():
    request = DownstreamRequest.of("here", "tiny", settings=["noise.samples=5"])
    assert {"noise", "ensemble"} <= set(request.metric_of())
    assert "scores" not in DownstreamRequest("here", "tiny").metric_of()
    assert "scores" in MeasureRequest("here", "tiny").metric_of()
