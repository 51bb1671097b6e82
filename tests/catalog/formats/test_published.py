"""Populations that others published, where a copy of them is at hand."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

import catalog
from catalog import Catalog, import_source
from catalog.upkeep.verify import verify

DATA = Path(os.environ.get("PHASEZOO_DATA") or Path(__file__).parents[3] / "../shared/data")


@pytest.fixture(scope="module")
def published() -> Path:
    if not (DATA / "zoo_acasxu").is_dir():
        pytest.skip(f"no published zoos in {DATA}; say where: PHASEZOO_DATA")
    return DATA


@pytest.fixture(scope="module")
def store(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    root = tmp_path_factory.mktemp("published")
    licences = {
        "zoo_acasxu": "CC-BY-4.0",
        "zoo_tandem_metasurface": "MIT",
        "zoo_resnet_cifar10": "BSD-2-Clause",
        "zoo_metrics_loss_landscape_taxonomy": "MIT",
    }
    for folder, licence in licences.items():
        # ACAS Xu networks are documented as chains of ReLU layers of one width.
        rule = "chain" if folder == "zoo_acasxu" else "certain"
        import_source(root, published / folder, license=licence, axes=rule)
    return catalog.open(root)


def test_every_network_is_there(store: Catalog) -> None:
    rows = store.sql(
        "SELECT zoo, license, count(DISTINCT run_id), count(finite), min(parameters), "
        "max(parameters) FROM models GROUP BY ALL ORDER BY zoo"
    )
    assert rows.fetchall() == [
        ("zoo_acasxu", "CC-BY-4.0", 45, 45, 13305, 13305),
        ("zoo_metrics_loss_landscape_taxonomy", "MIT", 1050, 0, None, None),
        ("zoo_resnet_cifar10", "BSD-2-Clause", 2, 2, 271098, 857082),
        ("zoo_tandem_metasurface", "MIT", 50, 50, 10187, 20380),
    ]
    assert not verify(store.root).problems


def test_every_value_is_the_published_one(store: Catalog, published: Path) -> None:
    stack = np.load(published / "zoo_acasxu/acasxu_45.npz", allow_pickle=False)
    for name in stack.files:
        stored = store.read_tensor(name, "zoo = 'zoo_acasxu' ORDER BY \"index\"")
        assert stored.dtype == stack[name].dtype
        assert stored.tobytes() == stack[name].tobytes()
    keyed = np.load(published / "zoo_tandem_metasurface/networks.npz", allow_pickle=False)
    ids = {key.partition("|")[0] for key in keyed.files}
    for name in sorted(ids)[::7]:
        state = store.select(f"source_name = '{name}'")[0]
        assert all((state[k] == keyed[f"{name}|{k}"]).all() for k in state)
    for path in (published / "zoo_resnet_cifar10").glob("*.npz"):
        file = np.load(path, allow_pickle=False)
        state = store.select(f"source_name = '{path.stem}'")[0]
        assert list(state) == file.files
        assert all(state[k].tobytes() == file[k].tobytes() for k in state)


def test_acasxu_columns_and_constants(store: Catalog) -> None:
    rows = store.sql(
        "SELECT prev_advisory, tau_index, count(*) FROM models WHERE zoo = 'zoo_acasxu' "
        "GROUP BY ALL"
    )
    assert {str(kind) for kind in rows.types} == {"BIGINT"}
    assert sorted(rows.fetchall()) == [(a, t, 1) for a in range(1, 6) for t in range(1, 10)]
    population = store.load("zoo = 'zoo_acasxu'")
    assert population.weights.shape == (45, 13305)
    assert population.layout.symbols == {f"hidden{k}": 50 for k in range(1, 7)}
    assert set(population.extra) == {"input_min", "input_max", "norm_mean", "norm_range"}


def test_every_tandem_network_descends_from_the_forward_network_of_its_seed(
    store: Catalog,
) -> None:
    rows = store.sql(
        "SELECT c.kind, c.seed, c.alpha, p.kind, p.seed, link.role, c.split_by_run = "
        "p.split_by_run FROM runs c LEFT JOIN unnest(c.parents) t(link) ON true LEFT JOIN "
        "runs p ON p.run_id = link.run_id WHERE c.zoo = 'zoo_tandem_metasurface'"
    ).fetchall()
    forward = [row for row in rows if row[0] == "forward"]
    tandem = [row for row in rows if row[0] == "tandem"]
    assert (len(forward), len(tandem)) == (10, 40)
    assert all(row[2:6] == (None, None, None, None) for row in forward)
    assert all(row[3] == "forward" and row[4] == row[1] for row in tandem)
    assert all(row[5:] == ("embedded", True) for row in tandem)
    assert {row[2] for row in tandem} == {0.0, 0.01, 0.1, 1.0}


def test_no_symbols_where_blocks_hide_sums(store: Catalog) -> None:
    for zoo in ("zoo_resnet_cifar10", "zoo_tandem_metasurface"):
        condition = f"zoo = '{zoo}' AND parameters IN (271098, 20380)"
        assert store.select(condition).layout.symbols == {}
    forward = store.select("zoo = 'zoo_tandem_metasurface' AND parameters = 10187")
    assert forward.layout.symbols == {f"hidden{k}": 64 for k in (1, 2, 3)}


def test_metrics_of_the_loss_landscape_taxonomy(store: Catalog, published: Path) -> None:
    path = published / "zoo_metrics_loss_landscape_taxonomy/per_model.csv"
    with path.open() as file:
        expected = list(csv.DictReader(file))
    columns = "width, batch_size, run, train_loss, train_accuracy, test_accuracy, "
    rows = store.sql(
        f"SELECT {columns} hessian_top_eig, hessian_trace, load, temperature, cell, "
        "architecture_name, load_axis, temperature_axis FROM models "
        "WHERE zoo = 'zoo_metrics_loss_landscape_taxonomy'"
    )
    found = {row[:3]: row[3:] for row in rows.fetchall()}
    assert len(found) == len(expected) == 1050
    assert len({row[7] for row in found.values()}) == 210
    for row in expected:
        width, batch = int(row["width"]), int(row["batch_size"])
        own = found[width, batch, int(row["run"])]
        test = row["test_accuracy"]
        assert own[0] == float(row["train_loss"])
        assert own[1] == float(row["train_accuracy"]) / 100
        assert own[2] == (float(test) / 100 if test else None)
        assert own[3:7] == (
            float(row["hessian_top_eig"]), float(row["hessian_trace"]), width, batch,
        )  # fmt: skip
        assert own[8:] == ("ResNet18", "width", "batch_size")
    with path.with_name("per_config.csv").open() as file:
        cells = {(int(r["width"]), int(r["batch_size"])): r for r in csv.DictReader(file)}
    measured = store.sql(
        "SELECT width, batch_size, mode_connectivity, logit_cka, weight_distance "
        "FROM models WHERE zoo = 'zoo_metrics_loss_landscape_taxonomy'"
    ).fetchall()
    assert len(cells) == 210
    for width, batch, connectivity, cka, distance in measured:
        texts = [
            cells[width, batch][key] for key in ("mode_connectivity", "cka", "l2_dist")
        ]
        numbers = [float(text or "nan") for text in texts]
        expected_of_cell = [numbers[0] / 100, *numbers[1:]]
        found_of_cell = np.float64([connectivity, cka, distance])  # None is NaN
        np.testing.assert_array_equal(found_of_cell, expected_of_cell)
    points = store.sql("FROM checkpoints").columns
    assert {"hessian_top_eig", "hessian_trace", "test_nll"} <= set(points)


def test_importing_them_again_is_a_no_op(store: Catalog, published: Path) -> None:
    version = store.refreshed().version
    for folder in ("zoo_acasxu", "zoo_tandem_metasurface"):
        licence = {"zoo_acasxu": "CC-BY-4.0"}.get(folder, "MIT")
        summary = import_source(store.root, published / folder, license=licence)
        assert (summary.imported, summary.shards) == (0, [])
        assert summary.known in (45, 50)
    assert store.refreshed().version == version
