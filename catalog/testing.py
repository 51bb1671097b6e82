"""Contract tests of formats: imported tensors equal the published ones bit for bit.

Authors of formats run the tests on their readers::

    from catalog.testing import FormatContract

    class TestMine(FormatContract):
        name = "mine"

        def plant(self, folder):
            ...  # write a publication into the folder
            return path, {("net-0", 0): {"weight": values}}

The format must be registered in `catalog.formats.FORMATS`. With
``pytest.register_assert_rewrite("catalog.testing")`` failures show the compared values.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from catalog.catalog import open_catalog
from catalog.dtypes import Array
from catalog.formats import FORMATS, find_format
from catalog.formats.format import Network
from catalog.importing import import_source
from catalog.quoting import literal
from catalog.upkeep.verify import verify

Planted = Mapping[tuple[str, int], Mapping[str, Array]]
"""Tensors of each network, by name in the source and step; empty for metrics only."""


class FormatContract:
    """Contract of every format; a subclass names the format and writes a publication.

    Attributes
    ----------
    name : str
        Name of the format, as in ``--format``.
    """

    name: ClassVar[str]

    def plant(self, folder: Path) -> tuple[Path, Planted]:
        """Write a publication with a column ``lr`` for every network.

        Returns
        -------
        source : Path
            File or folder to import.
        planted : mapping
            Tensors of the publication; see `Planted`.
        """
        raise NotImplementedError

    def test_a_format_is_named_and_summarised(self) -> None:
        assert FORMATS[self.name].name == self.name
        assert 20 < len(FORMATS[self.name].summary) < 90

    @pytest.mark.parametrize("how", ["auto", "named"])
    def test_planted_networks_come_back(self, how: str, tmp_path: Path) -> None:
        source, planted = self._planted(tmp_path)
        named = "auto" if how == "auto" else self.name
        assert find_format(named, source).name == self.name
        summary = import_source(tmp_path / "zoo", source, zoo="z", format=named)
        assert (summary.format, summary.networks) == (self.name, len(planted))
        assert (summary.imported, summary.known) == (len(planted), 0)
        store = open_catalog(tmp_path / "zoo")
        rows = store.sql("SELECT source_name, step, run_id FROM models").fetchall()
        assert {row[:2] for row in rows} == planted.keys()
        assert len(rows) == len(planted)
        assert summary.runs == len({row[2] for row in rows})
        kinds = store.sql("SELECT DISTINCT source, zoo FROM runs").fetchall()
        assert kinds == [("imported", "z")]
        assert store.sql("SELECT count(lr) FROM models").fetchall() == [(len(planted),)]
        for (run, step), tensors in planted.items():
            if not tensors:
                continue
            stored = store.select(f"source_name = {literal(run)} AND step = {step}")[0]
            assert stored.keys() == tensors.keys()
            for key, value in tensors.items():
                native = value.astype(value.dtype.newbyteorder("="))
                assert stored[key].dtype == native.dtype
                assert stored[key].shape == native.shape
                assert stored[key].tobytes() == native.tobytes()
        assert not verify(tmp_path / "zoo").problems

    def test_importing_again_changes_no_byte(self, tmp_path: Path) -> None:
        source, planted = self._planted(tmp_path)
        import_source(tmp_path / "zoo", source)
        before = _bytes_below(tmp_path / "zoo")
        again = import_source(tmp_path / "zoo", source)
        assert (again.imported, again.known, again.shards) == (0, len(planted), [])
        assert _bytes_below(tmp_path / "zoo") == before

    def test_networks_are_read_in_a_fixed_order(self, tmp_path: Path) -> None:
        source, planted = self._planted(tmp_path)
        reader = FORMATS[self.name]
        first, second = (list(reader.read(source, None)) for _ in range(2))
        assert [(n.run_name, n.step) for n in first] == [
            (n.run_name, n.step) for n in second
        ]
        assert len(first) == len(planted)
        assert all(isinstance(network, Network) for network in first)

    def _planted(self, folder: Path) -> tuple[Path, Planted]:
        (folder / "source").mkdir()
        return self.plant(folder / "source")


def _bytes_below(folder: Path) -> dict[Path, bytes]:
    """Contents of all files of a catalogue except its cache and locks."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in ("cache", "writers")
    }
