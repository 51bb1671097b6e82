"""The record of the options of phasezoo probe."""

import pytest

from catalog import CatalogError, NotFound
from catalog.console.options import options_in
from probes.fitting.request import Checkpoints, FitRequest, recorded_flags

WRONG = [
    ({"by": "seed"}, "--by must be one of run, sibling, cell, zoo, tree. Got 'seed'."),
    ({"steps": "first"}, "--steps must be one of last, all. Got 'first'."),
    ({"task": "ranking"}, "--task must be one of auto, regression, classification."),
    ({"deal": 1}, "--folds must be 2 or more. Got 1."),
    ({"seeds": 0}, "--seeds must be 1 or more. Got 0."),
    ({"relative": "rank"}, "--relative must be one of quantile, standard. Got 'rank'."),
    ({"probe": "linear", "relative": "standard"}, "'linear' reads weights"),
    ({"layer": ["auto"]}, "--layer auto is for probes that read weights"),
    ({"settings": ["model"]}, "NAME=VALUE"),
]


def request(**options):
    return FitRequest(**{"probe": "statistics", "targets": ["test_accuracy"], **options})


@pytest.mark.parametrize(("options", "message"), WRONG, ids=[w[1] for w in WRONG])
def test_what_needs_no_catalogue_is_refused_at_once(options, message):
    with pytest.raises(CatalogError) as error:
        request(**options)
    assert message in str(error.value)


def test_probes_and_parameters_have_names():
    with pytest.raises(NotFound, match="Closest: statistics"):
        request(probe="statistic")
    with pytest.raises(NotFound, match="Closest: model"):
        request(settings={"modl": 1})


def test_texts_and_values_are_one_request():
    assert request(settings=["model=ridge"]) == request(settings={"model": "ridge"})
    assert request(layer=["a"]).layer == ("a",)
    assert request(probe="linear", layer=["auto"]).chooses_layer


def test_provenance_records_options_under_their_flags():
    recorded = request(by="cell", deal=3, to="file", again=True).recorded()
    assert recorded == {
        "where": "true", "steps": "last", "by": "cell", "folds": 3, "seeds": 1,
        "relative": None,
    }  # fmt: skip
    flags = recorded_flags()
    assert list(flags) == ["targets", *recorded]
    assert flags.pop("targets") == "--target"
    assert all(flag == f"--{key}" for key, flag in flags.items())


def test_every_option_has_one_flag_and_a_meaning():
    options = options_in(FitRequest)
    assert len({option.flag for option in options.values()}) == len(options)
    assert all(option.meaning.endswith(".") for option in options.values())
    assert list(options)[-2:] == list(options_in(Checkpoints)) == ["where", "steps"]
