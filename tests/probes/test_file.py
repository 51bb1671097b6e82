"""Files of probes: nothing in one is code, whatever it says."""

import json

import numpy as np
import pytest

import probes
from catalog import CatalogError, ShardCorrupt
from catalog.formats.safetensors_file import read_header, read_tensors, write_file
from probes import file as probe_file
from probes.estimators import LinearProbe


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    X = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    path = tmp_path_factory.mktemp("kept") / "p.safetensors"
    probes.save(LinearProbe().fit(X, X[:, 0]), path, {"target": "x"})
    return path


def changed(kept, path, change):
    body, tensors = json.loads(read_header(kept).metadata["probe"]), read_tensors(kept)
    change(body)
    with path.open("wb") as file:
        write_file(file, tensors, {"probe": json.dumps(body)})
    return path


@pytest.mark.parametrize("name", ["predict", "__class__", "_x", "__dict__", "fit", "score"])
def test_what_fitting_does_not_leave_is_no_attribute(kept, tmp_path, name):
    path = changed(
        kept, tmp_path / "p.safetensors", lambda b: b["fitted"]["dict"].update({name: 5})
    )
    with pytest.raises(CatalogError, match=f"{name!r}, but fitting sets only"):
        probe_file.load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.pop("fitted"), lambda b: b.pop("params"), lambda b: b.update(probe=5),
        lambda b: b.update(probe="os.system"), lambda b: b.update(format="x"),
        lambda b: b["params"]["dict"].update(evil=1), lambda b: b.update(params=[]),
        lambda b: b["fitted"]["dict"].update(coef_={"tensor": "none"}),
        lambda b: b.pop("format"),
        lambda b: b["fitted"]["dict"].update(x_={"strings": ["a"], "shape": [1 << 60]}),
        lambda b: b["fitted"]["dict"].update(x_={"record": "os.system", "fields": {}}),
        lambda b: b["fitted"]["dict"].update(
            x_={"record": "Smooth", "fields": {"evil": 1}}
        ),
    ],
)  # fmt: skip
def test_other_content_is_refused(kept, tmp_path, change):
    path = changed(kept, tmp_path / "p.safetensors", change)
    with pytest.raises(CatalogError):
        probe_file.load(path)


@pytest.mark.parametrize("about", [None, 5, "x", [1]])
def test_what_is_known_beside_it_is_an_object(kept, tmp_path, about):
    path = changed(kept, tmp_path / "p.safetensors", lambda b: b.update(about=about))
    with pytest.raises(CatalogError, match=r"p\.safetensors is damaged, or not a probe"):
        probe_file.about(path)


def test_a_damaged_probe_predicts_nothing(kept, tmp_path):
    whole, path = kept.read_bytes(), tmp_path / "p.safetensors"
    for at in range(0, len(whole), 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        for read in (probes.load, probe_file.about):
            with pytest.raises(CatalogError, match=r"p\.safetensors"):
                read(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 64]))  # a coefficient of 1e33
    with pytest.raises(ShardCorrupt, match="has changed since it was written"):
        probes.load(path)


def test_a_file_of_before_gives_the_same(kept, tmp_path):
    X = np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32)
    path = changed(kept, tmp_path / "p.safetensors", lambda b: None)
    assert set(read_header(path).metadata) == {"probe"}
    assert (probes.load(path).predict(X) == probes.load(kept).predict(X)).all()
    assert probe_file.about(path) == {"target": "x"}
