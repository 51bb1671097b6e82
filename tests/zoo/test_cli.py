"""The verbs `recipes` and `train`."""

import json

import pytest

from catalog.console.program import main
from zoo.recipes import RECIPES


def phasezoo(capsys, *arguments):
    """Exit code, stdout and stderr of one command."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    captured = capsys.readouterr()
    return exit_.value.code, captured.out, captured.err


def test_recipes_lists_every_recipe(capsys):
    code, out, _ = phasezoo(capsys, "recipes")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == sorted(RECIPES)


def test_recipes_prints_one_json_document(capsys):
    code, out, _ = phasezoo(capsys, "recipes", "--json")
    listed = {row["recipe"]: row for row in json.loads(out)}
    assert code == 0
    assert listed.keys() == RECIPES.keys()
    for name, recipe in RECIPES.items():
        assert listed[name]["networks"] == recipe.networks
        assert listed[name]["MB"] == round(recipe.bytes / 1e6, 1)


def test_one_recipe_is_shown_with_its_axes_and_paper(capsys):
    code, out, _ = phasezoo(capsys, "recipes", "digits_mlp_phases")
    assert code == 0
    assert "width: [2, 4, 6, 8, 12, 16, 32, 64]" in out
    assert RECIPES["digits_mlp_phases"].paper in out


def test_an_unknown_recipe_is_answered_with_the_closest(capsys):
    code, out, err = phasezoo(capsys, "recipes", "digits_mlp_phase")
    assert (code, out) == (1, "")
    assert "No recipe 'digits_mlp_phase'. Closest: digits_mlp_phases" in err


@pytest.mark.parametrize(
    ("options", "expected", "message"),
    [
        (("--limit", "0"), 2, "'--limit': 0 is not in the range x>=1"),
        (("--limit", "-3"), 2, "'--limit': -3 is not in the range x>=1"),
        (("--workers", "0"), 2, "'--workers': 0 is not in the range x>=1"),
        (("--memory", "much"), 1, "--memory must be a size such as 4GB. Got 'much'"),
    ],
)
def test_a_wrong_number_is_refused_at_once(capsys, tmp_path, options, expected, message):
    where = ("--catalog", str(tmp_path / "zoo"))
    code, out, err = phasezoo(capsys, "train", "digits_mlp_phases", *options, *where)
    assert (code, out) == (expected, "")
    assert message in err
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize("options", [("--limit", "few"), ("--nonsense",), ("a", "b")])
def test_what_the_command_line_does_not_know_is_a_usage_error(capsys, options):
    code, out, err = phasezoo(capsys, "train", "digits_mlp_phases", *options)
    assert (code, out) == (2, "")
    assert "Usage:" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digits_mlp_phase",), "No recipe 'digits_mlp_phase'. Closest: digits_mlp_phases"),
        (
            ("digits_mlp_phases", "--device", "nonsense"),
            "--device 'nonsense' cannot be used: ",
        ),
        (
            ("digits_mlp_phases", "--memory", "1MB"),
            "--memory leaves 1 MB per worker; with scikit-learn digits a worker needs",
        ),
        (
            ("mnist_cnn_phases", "--data", "/nonexistent"),
            "--data /nonexistent is not a folder",
        ),
        (
            ("mnist_cnn_phases", "--data", "."),
            "No MNIST data in .: expected mnist/mnist.npz",
        ),
    ],
)
def test_what_only_a_worker_knows_is_wrong_is_refused_before_training(
    capsys, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    code, out, err = phasezoo(capsys, "train", *arguments, "--workers", "1")
    assert (code, out) == (1, "")
    assert message in err
    assert not (tmp_path / "phasezoo-data").exists()


def test_train_prints_one_json_document_or_a_sentence(capsys, tmp_path):
    command = ("train", "digits_mlp_phases", "--limit", "1", "--workers", "1")
    command += ("--catalog", str(tmp_path))
    code, out, _ = phasezoo(capsys, *command, "--json")
    assert code == 0
    assert json.loads(out) == {
        "zoo": "digits_mlp_phases", "planned": 1, "known": 0, "incomplete": 0, "trained": 1,
        "diverged": 0, "checkpoints": 7, "stacks": 1,
    }  # fmt: skip
    code, out, _ = phasezoo(capsys, *command)
    expected = "digits_mlp_phases: all 1 runs are already in the catalogue\n"
    assert (code, out) == (0, expected)
