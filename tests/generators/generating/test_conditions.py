"""What is asked on the command line: read, checked, and refused before a fit."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from catalog import CatalogError, Layout, NotFound, Param, Population
from catalog.names import canonical_json
from generators.generating.conditions import (
    check_conditions,
    conditions_of,
    of_test_data,
    typed_conditions,
)
from generators.generating.options import GenerateOptions
from generators.generating.plan import Request
from generators.generating.sampling import best_of, retrieved, seed_of
from generators.methods import DeepWeightFlow
from generators.nulls import Interpolation, Retrieval, Soup, Train
from generators.registry import generator_named

TABLE = pa.table({"lr": [0.1, 0.2, 0.4], "optimizer": ["sgd", "adam", "sgd"]})


def check(generator, texts, **options):
    options = {"extrapolate": False, "can_extrapolate": True, **options}
    tables = {"train": TABLE, "validation": TABLE}
    asked = typed_conditions(conditions_of(texts), TABLE)
    check_conditions(generator, asked, tables, **options)


def test_conditions_are_all_combinations():
    assert conditions_of([]) == ({},)
    assert conditions_of(["a=1,2", "b=x"]) == ({"a": "1", "b": "x"}, {"a": "2", "b": "x"})
    with pytest.raises(CatalogError, match="Got 'a=2'"):
        conditions_of(["a=1", "a=2"])


def test_values_are_of_the_type_of_their_column():
    names = pa.array(["1", "1.0", "1e5"]).dictionary_encode()
    table = pa.table({"lr": [0.1, 0.2, 0.4], "name": names, "on": [True, False, True]})
    one = {"lr": "1e-1", "name": "1", "on": "true"}
    assert typed_conditions([one], table) == ({"lr": 0.1, "name": "1", "on": "True"},)
    retrieval = Retrieval(aligned=False)
    for text, on in (("1", "true"), ("1.0", "False"), ("1e5", "True")):
        (asked,) = typed_conditions([{"name": text, "on": on}], table)
        tables = {"train": table, "validation": table}
        check_conditions(
            retrieval, [asked], tables, extrapolate=False, can_extrapolate=False
        )
    with pytest.raises(CatalogError, match=r"lr must be a number\. Got 'high'"):
        typed_conditions([{"lr": "high"}], table)


def test_conditions_outside_of_the_networks_are_refused():
    flow = DeepWeightFlow(conditions=["lr"])
    check(flow, ["lr=0.1,0.4"])
    check(flow, ["lr=0.5"], extrapolate=True)
    with pytest.raises(CatalogError, match=r"lr = 0\.5 .* 0\.1 to 0\.4.*--extrapolate"):
        check(flow, ["lr=0.2,0.5"])
    with pytest.raises(CatalogError, match=r"a value within it\.$"):
        check(Retrieval(), ["lr=0.5"], can_extrapolate=False)
    with pytest.raises(CatalogError, match=r"must be a finite number\. Got 'nan'"):
        check(flow, ["lr=nan"], extrapolate=True)
    with pytest.raises(NotFound, match="No training network has optimizer = 'adamw'"):
        check(DeepWeightFlow(conditions=["optimizer"]), ["optimizer=adamw"])
    with pytest.raises(CatalogError, match="takes no condition"):
        check(Train(), ["lr=0.1"])
    with pytest.raises(CatalogError, match="name lr there too"):
        check(DeepWeightFlow(conditions=["optimizer"]), ["lr=0.1"])


def test_columns_of_test_data_are_told():
    known = ["test_accuracy", "validation_accuracy", "test_sharpness"]
    asked = conditions_of(["test_accuracy=0.9,0.95"])
    (line,) = of_test_data(DeepWeightFlow(conditions=["test_accuracy"]), asked, known)
    assert line.endswith("Paste instead: --condition validation_accuracy=0.9,0.95")
    predicting = DeepWeightFlow(predictors=["test_accuracy", "test_sharpness"])
    first, second = of_test_data(predicting, ({},), known)
    assert first.endswith("""--set 'predictors=["validation_accuracy"]'""")
    assert second.endswith("Leave it out.")
    valid = DeepWeightFlow(conditions=["validation_accuracy"])
    assert not of_test_data(valid, conditions_of(["validation_accuracy=0.9"]), known)


def test_options_are_refused_where_they_have_no_use():
    GenerateOptions(
        guidance=1.5, temperature=0.9, restarts=2, best_of=4, extrapolate=True
    ).check_taken(DeepWeightFlow, {"lr": 0.1})
    for options, name in (
        ({"guidance": 2.0}, "guidance"),
        ({"best_of": 2}, "best-of"),
        ({"temperature": 0.5}, "temperature"),
        ({"restarts": 0}, "restarts"),
        ({"extrapolate": True}, "extrapolate"),
    ):
        with pytest.raises(CatalogError, match=f"'train' takes no --{name}"):
            GenerateOptions(**options).check_taken(Train, {})
    with pytest.raises(CatalogError, match="no use without a condition"):
        GenerateOptions(guidance=2.0).check_taken(DeepWeightFlow, {})
    with pytest.raises(CatalogError, match=r"--temperature must be 0 or more. Got nan"):
        GenerateOptions(temperature=math.nan)


def test_every_condition_has_a_seed_of_its_own():
    assert seed_of(5, {}) == 5
    seeds = {seed_of(s, c) for s in (0, 1) for c in ({"a": 1.0}, {"a": 2.0}, {"b": 1.0})}
    assert len(seeds) == 6
    assert seed_of(0, {"a": 1.0, "b": "x"}) == seed_of(0, {"b": "x", "a": 1.0})


def networks():
    values = np.arange(12, dtype=np.float32)
    table = pa.table(
        {"run_id": [f"r{i}" for i in range(12)], "step": [1] * 12, "lr": values / 10}
    )
    return Population(values[:, None], Layout((Param("w", (1,)),)), table)


def test_the_best_of_several_is_kept():
    train = Train(aligned=False).fit_to(networks())
    found = best_of(train, 4, 3, lambda p: p.weights[:, 0], seed=0)
    drawn = train.sample(12, seed=0).weights[:, 0].reshape(4, 3)
    assert found.weights[:, 0].tolist() == drawn.max(1).tolist()


def test_retrieval_answers_what_is_outside_with_the_nearest():
    retrieval = Retrieval(aligned=False).fit_to(networks())
    asked = typed_conditions(conditions_of(["lr=0.5,7"]), networks().table)
    found = retrieved(retrieval, asked, [1, 2], 0, 1, lambda p: p.weights[:, 0])
    assert found.weights[:, 0].tolist() == [5, 11, 10]


def test_a_solver_and_the_published_settings_can_be_set():
    own = generator_named("deepweightflow", ['solver={"method": "heun", "steps": 5}'])
    assert (own.solver.method, own.solver.steps) == ("heun", 5)
    assert own.schedule is None
    request = Request(own, GenerateOptions(n=1), {}, {}, ({},))
    assert json.loads(canonical_json(request.fit_provenance)) == request.fit_provenance
    told = ["preset=paper", "iterations=40", 'solver={"steps": 3}', "tolerance=0.1"]
    paper, plain = generator_named("deepweightflow", told), DeepWeightFlow.paper()
    assert (paper.velocity, paper.whiten, paper.source) == ("published_mlp", False, 0.01)
    assert (paper.schedule.iterations, plain.schedule.iterations) == (40, 30_000)
    assert (paper.solver.steps, plain.solver.steps, paper.tolerance) == (3, 99, 0.1)
    with pytest.raises(CatalogError, match="'soup' has no presets"):
        generator_named("soup", ["preset=paper"])
    with pytest.raises(NotFound, match="Closest: paper"):
        generator_named("deepweightflow", ["preset=papers"])


def test_values_within_records_are_checked():
    for setting, message in (
        ('solver={"method": "rk5"}', r"solver\.method of .*'heun' or 'rk4'\. Got 'rk5'"),
        ('schedule={"iterations": "many"}', r"schedule\.iterations of .* a whole number"),
        ("strategy=median", r"strategy of .*'mean'.* Got 'median'"),
    ):
        with pytest.raises(CatalogError, match=message):
            generator_named("deepweightflow", [setting])
    assert generator_named("deepweightflow", ["strategy=null"]).strategy is None


def test_too_few_runs_for_a_group_advise_a_size_only_where_there_is_one():
    few = networks().select(np.arange(1))
    with pytest.raises(CatalogError, match=r"Set size=1 or less, or load more runs"):
        Soup(aligned=False, size=4).fit_to(few).sample(1)
    with pytest.raises(CatalogError, match=r"needs 2 runs\. Got 1\. Load more runs\.$"):
        Interpolation(aligned=False).fit_to(few).sample(1)
