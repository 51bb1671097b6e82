"""Files of generators: what changed is not used, and not copied."""

from pathlib import Path

import pytest

import probes
from catalog import Canonicaliser, CatalogError, ShardCorrupt
from catalog.formats.format import Tensor
from generators.file import _GENERATOR, generator_about, generator_name, save_generator
from generators.generating.fitted_file import copy_fitted
from generators.nulls import Interpolation, Train
from generators.registry import open_generator

GOLDEN = Path(__file__).parents[1] / "golden" / "fitted"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "train.safetensors"
    save_generator(Train.load(GOLDEN / "generator.safetensors"), path, {"fit": 5})
    return path


def test_what_was_saved_is_opened(kept):
    assert isinstance(open_generator(kept), Train)
    assert (generator_name(kept), generator_about(kept)) == ("train", {"fit": 5})


def test_a_flipped_bit_is_refused_by_name(kept, tmp_path):
    whole, path = kept.read_bytes(), tmp_path / "x.safetensors"
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        with pytest.raises(CatalogError, match=r"x\.safetensors"):
            open_generator(path)


def test_what_has_changed_is_not_copied(kept, tmp_path):
    copy_fitted(kept, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == kept.read_bytes()
    damaged = tmp_path / "damaged"
    damaged.write_bytes(kept.read_bytes()[:-1] + b"\xff")
    with pytest.raises(ShardCorrupt, match="damaged has changed"):
        copy_fitted(damaged, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == kept.read_bytes()


def test_each_kind_is_refused_in_the_place_of_another(kept, tmp_path):
    other = tmp_path / "c.safetensors"
    Canonicaliser.load(GOLDEN / "canonicaliser.safetensors").save(other)
    with pytest.raises(CatalogError, match="no generator but is of kind 'canonicaliser'"):
        open_generator(other)
    with pytest.raises(CatalogError, match="no probe but is of kind 'generator'"):
        probes.load(kept)
    with pytest.raises(CatalogError, match="no canonicaliser but is of kind 'generator'"):
        Canonicaliser.load(kept)


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        ({"share": [[0.5]]}, r"share of the generator 'interpolation' must be .*Got \[\["),
        ({"share": "much"}, "share of the generator 'interpolation' must be"),
        ({"shore": 0.5}, "has no parameter 'shore'"),
    ],
)
def test_settings_that_nobody_can_pass_are_refused_by_name(tmp_path, forged, message):
    path = tmp_path / "x.safetensors"
    source = Train.load(GOLDEN / "generator.safetensors")
    save_generator(Interpolation().fit(source.training_), path)
    body, tensors = _GENERATOR.read(path)
    values = {name: Tensor(v, str(v.dtype)) for name, v in tensors.items()}
    settings = {"dict": {**body["settings"]["dict"], **forged}}
    _GENERATOR.write(path, {**body, "settings": settings}, values)
    with pytest.raises(ShardCorrupt, match=rf"x\.safetensors holds settings .*{message}"):
        open_generator(path)
