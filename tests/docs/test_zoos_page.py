"""The page of published zoos: its tasks can be pasted, its text is replaced as a whole."""

import dataclasses
import shlex
import sys
from pathlib import Path

import click
import pytest

import catalog
from catalog import CatalogError
from catalog.console.program import phasezoo
from probes.fitting.request import FitRequest
from zoo import train
from zoo.recipes import RECIPES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def docs():
    """The modules behind the page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        import probe_tasks
        import zoos_page

        yield dataclasses.make_dataclass("Docs", ["tasks", "page"])(probe_tasks, zoos_page)
    for name in ("probe_tasks", "zoos_page"):
        sys.modules.pop(name, None)


def pasted(text):
    """The request that a command line stands for."""
    command, arguments = phasezoo, shlex.split(text)[1:]
    with click.Context(phasezoo, info_name="phasezoo") as context:
        while isinstance(command, click.Group) and not arguments[0].startswith("-"):
            name, command, arguments = command.resolve_command(context, arguments)
        values = command.make_context(name, arguments, parent=context).params
    return {key: values[key] for key in values if key not in ("catalog_path", "as_json")}


def test_the_commands_are_the_requests(docs):
    for task in docs.tasks.PROBE_TASKS:
        for probe in task.probes:
            request = task.request(probe)
            again = FitRequest(probe=probe, **pasted(docs.tasks.command(request)))
            settings = again.unfitted().get_params(), request.unfitted().get_params()
            assert settings[0] == settings[1]
            plain = [dataclasses.replace(r, settings={}) for r in (again, request)]
            assert plain[0] == plain[1]


def test_every_task_is_about_a_recipe_and_scores_a_probe(docs):
    questions = [(task.zoo, task.question) for task in docs.tasks.PROBE_TASKS]
    assert len(set(questions)) == len(questions)
    for task in docs.tasks.PROBE_TASKS:
        assert task.zoo in RECIPES
        assert task.probes


def test_no_task_divides_a_run_or_scores_what_it_learns_from(docs):
    for task in docs.tasks.PROBE_TASKS:
        assert task.by in ("run", "cell", "sibling")
        grown = bool(RECIPES[task.zoo].init_from)
        assert (
            task.by == "sibling"
        ) == grown  # by run, children are on the side of the root


def test_the_text_between_the_marks_is_replaced(docs, tmp_path):
    page, (begin, end) = tmp_path / "page.md", docs.page.MARKS
    page.write_text(f"before\n{begin}old\n{end}after\n")
    assert docs.page.around(page) == ("before\n", "after\n")


@pytest.mark.parametrize("order", [(), (0,), (1,), (1, 0), (0, 1, 1), (0, 0, 1)], ids=str)
def test_a_page_without_the_two_marks_is_refused(docs, tmp_path, order):
    page = tmp_path / "page.md"
    page.write_text("".join(docs.page.MARKS[i] for i in order))
    with pytest.raises(CatalogError, match="once each"):
        docs.page.around(page)


def test_the_page_of_the_project_has_the_marks(docs):
    before, after = docs.page.around(ROOT / "docs" / "zoos.md")
    assert before.startswith("# ")
    assert after.strip()


def test_the_row_of_a_zoo_counts_what_is_there(docs, tmp_path, forked_workers):
    recipe = dataclasses.replace(RECIPES["digits_mlp_phases"], steps=4, epochs=None)
    train(recipe, tmp_path, limit=3, workers=1)
    store = catalog.open(tmp_path)
    row = docs.page.zoo_row(store, "digits_mlp_phases")
    assert row["networks"] == "3 of 192"
    assert row["checkpoints"] == str(
        store.sql("SELECT count(*) FROM models").fetchall()[0][0]
    )
    files = (tmp_path / "weights").rglob("*.parquet")
    assert row["bytes of weights"] == f"{sum(f.stat().st_size for f in files):,}"
    assert row["phases of the last checkpoints"] == "-"
    assert docs.page.zoo_row(store, "digits_mlp_seeds") is None


def test_the_table_has_a_column_for_each_key(docs):
    rows = [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert list(docs.page.table(rows)) == [
        "| a | b |",
        "|---|---|",
        "| 1 | 2 |",
        "| 3 | 4 |",
    ]


def test_a_score_without_an_interval_is_shown_alone(docs):
    estimate = {"score": "r2", "value": 0.5, "low": 0.4, "high": 0.61, "baseline": -0.01}
    row = docs.page.score_row({"probe": "linear", "estimates": [estimate]})
    assert row == {
        "probe": "`linear`",
        "r2": "0.500 (0.400 to 0.610)",
        "r2, trivial": "-0.010",
    }
    alone = {**estimate, "low": float("nan"), "high": float("nan")}
    assert docs.page.score_row({"probe": "linear", "estimates": [alone]})["r2"] == "0.500"
