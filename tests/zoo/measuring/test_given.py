import json

import pytest

from catalog import CatalogError
from catalog.errors import BadSetting, NotFound
from zoo.measuring.given import check_given, check_recorded, given_architecture
from zoo.measuring.request import DownstreamRequest, MeasureRequest
from zoo.run import Run

MLP = {"name": "mlp", "sizes": [64, 4, 10], "activation": "relu"}
OTHER = {**MLP, "sizes": [64, 5, 10]}
TRAINED = Run("tiny", "digits", MLP, 1, (1,))


def row(**columns):
    return {"run_id": "a" * 32, "zoo": "tiny", **columns}


@pytest.mark.parametrize("record", [MeasureRequest, DownstreamRequest])
def test_a_request_with_an_unknown_task_is_refused_before_the_catalogue_is_read(record):
    with pytest.raises(NotFound, match=r"No task 'digit'\. Closest: digits"):
        record("no such folder", "tiny", task="digit")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not JSON"),
        ("[]", "it is not a JSON object with a name"),
        ("{}", "it is not a JSON object with a name"),
        (
            json.dumps({**MLP, "sizes": [64, "a"]}),
            r"sizes of the architecture 'mlp' must be",
        ),
        (json.dumps({**MLP, "sizes": [64, -3]}), "must be at least two positive numbers"),
        (json.dumps({"name": "mlp", "sizes": [4, 2]}), "takes the fields"),
    ],
)
def test_a_wrong_architecture_is_blamed_on_the_option(text, message):
    with pytest.raises(BadSetting, match=message) as refused:
        MeasureRequest("no such folder", "tiny", architecture=text)
    assert str(refused.value).startswith("--architecture ")
    assert str(refused.value).count("--set") == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**MLP, "name": "mpl"}, "No architecture 'mpl'. Closest: mlp"),
        ({**MLP, "size": 3}, "has no parameter 'size'. Closest: sizes"),
        ({**MLP, "activation": "rulu"}, "No activation 'rulu'. Closest: relu"),
    ],
)
def test_unknown_names_in_an_architecture_are_answered_with_the_closest(config, message):
    with pytest.raises(NotFound, match=message):
        given_architecture(json.dumps(config))


def test_right_values_are_accepted():
    check_given("digits", json.dumps(MLP))
    assert given_architecture(json.dumps(MLP)).config()["sizes"] == (64, 4, 10)


def test_what_agrees_with_the_recorded_configuration_is_accepted_silently():
    assert check_recorded([row()], [TRAINED], "digits", json.dumps(MLP)) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("mnist", None), "the task digits, and --task states mnist. Leave out --task"),
        ((None, json.dumps(OTHER)), r"--architecture states .*64,5,10"),
    ],
)
def test_a_recorded_configuration_is_not_contradicted(given, message):
    with pytest.raises(CatalogError, match=message):
        check_recorded([row()], [TRAINED], *given)


def test_an_architecture_for_the_runs_that_lack_one_may_differ_from_recorded_ones():
    rows = [row(), row(architecture=None)]
    assert check_recorded(rows, [TRAINED, None], "digits", json.dumps(OTHER)) == []
    with pytest.raises(CatalogError, match="--task"):
        check_recorded(rows, [TRAINED, None], "mnist", None)


def test_what_an_import_stated_is_replaced_and_said():
    stated = row(task_name="cifar", architecture=json.dumps(OTHER))
    same = row(task_name="digits", architecture=json.dumps(MLP, indent=1))
    lines = check_recorded(
        [stated, stated, same, row()], [None] * 4, "digits", json.dumps(MLP)
    )
    assert len(lines) == 2
    assert lines[0].startswith("--task digits replaces the task cifar that 2 of")
    assert "[64, 5, 10]" in lines[1]
