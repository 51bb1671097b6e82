"""Files of fitted things of before the container are read, with the same results."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

import probes
from catalog import Canonicaliser, CatalogError, ShardCorrupt
from catalog.fitted.file import check
from catalog.formats.safetensors_file import read_header
from generators.nulls import Train
from probes.learning.descent_state import read_state

GOLDEN = Path(__file__).parents[1] / "golden" / "fitted"
MAKE = runpy.run_path(str(GOLDEN / "make.py"))
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


def test_they_say_no_kind_and_but_for_generators_no_digest():
    for name in ("canonicaliser", "descent", "generator", "probe"):
        path = GOLDEN / f"{name}.safetensors"
        keys = {name, "digest"} if name == "generator" else {name}
        assert set(read_header(path).metadata) == keys
        assert check(path) == (name == "generator")


def test_they_give_what_they_gave():
    found = MAKE["answers"](GOLDEN)
    for name in ("canonicaliser", "generator", "probe"):
        np.testing.assert_allclose(found[name], EXPECTED[name], rtol=1e-6)
    assert probes.file.about(GOLDEN / "probe.safetensors") == {"target": "x"}


def test_a_fit_goes_on_from_where_it_stood():
    network, optimizer = MAKE["network"]()
    for parameter in network.parameters():
        parameter.data.zero_()
    optimizer.state.clear()
    state = read_state(GOLDEN / "descent.safetensors", "a fit", network, optimizer)
    assert MAKE["numbers"](network, optimizer) == EXPECTED["descent"]
    assert (state.epoch, state.curve.epoch, state.curve.train_loss) == (2, [2], [0.5])
    assert set(state.best) == {"weight", "bias"}


def test_saved_again_they_have_a_digest_and_give_the_same(tmp_path):
    Canonicaliser.load(GOLDEN / "canonicaliser.safetensors").save(
        tmp_path / "canonicaliser.safetensors"
    )
    Train.load(GOLDEN / "generator.safetensors").save(tmp_path / "generator.safetensors")
    probe = probes.load(GOLDEN / "probe.safetensors")
    probes.save(probe, tmp_path / "probe.safetensors")
    assert all(check(path) for path in tmp_path.iterdir())
    assert MAKE["answers"](tmp_path) == MAKE["answers"](GOLDEN)


@pytest.mark.parametrize("name", ["canonicaliser", "descent", "generator", "probe"])
def test_with_any_other_byte_they_are_read_or_refused_as_before(tmp_path, name):
    read = {
        "canonicaliser": Canonicaliser.load,
        "descent": lambda path: read_state(path, "a fit", *MAKE["network"]()),
        "generator": Train.load,
        "probe": probes.load,
    }[name]
    whole, path = (GOLDEN / f"{name}.safetensors").read_bytes(), tmp_path / "x.safetensors"
    rng = np.random.default_rng(0)
    for at in rng.permutation(len(whole))[:200]:
        changed = bytearray(whole)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            read(path)
        except CatalogError:
            continue
        assert name != "generator"


def test_a_generator_of_before_with_another_number_is_refused(tmp_path):
    whole, path = (GOLDEN / "generator.safetensors").read_bytes(), tmp_path / "x"
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ShardCorrupt, match="has changed since it was written"):
        Train.load(path)
