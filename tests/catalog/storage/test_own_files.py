"""No verb that writes a file of the user's choice writes over a catalogue."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import catalog
from catalog import Catalog, CatalogError
from catalog.console.program import main
from catalog.storage.own_files import check_foreign
from catalog.storage.whole_file import whole_file
from catalog.storage.whole_folder import whole_folder
from catalog.upkeep.verify import verify


@pytest.mark.parametrize(
    "arguments",
    [
        ["sql", "SELECT 1 AS a", "--to", "ROOT/manifests/aaaaaaaaaaaa-000001.json"],
        ["sql", "SELECT 1 AS a", "--force", "--to", "SHARD"],
        ["sql", "SELECT 1 AS a", "--force", "--to", "LINK/new.csv"],
        ["export", "--where", "true", "--force", "--kind", "npz", "--to", "SHARD"],
        ["export", "--where", "true", "--force", "--to", "ROOT/weights/"],
        ["export", "--where", "true", "--force", "--to", "ROOT/"],
        ["report", "--to", "ROOT/HEAD"],
    ],
)
def test_a_catalogue_is_not_written_over(
    zoo: Catalog,
    files: Callable[[Path], dict[str, bytes]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    (tmp_path / "link").symlink_to(zoo.root / "runs")
    (shard,) = (zoo.root / "runs").glob("*.parquet")
    before = files(zoo.root)
    words = {"ROOT": zoo.root, "SHARD": shard, "LINK": tmp_path / "link"}
    for word, path in words.items():
        arguments = [one.replace(word, str(path)) for one in arguments]
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, "--catalog", str(zoo.root)])
    assert exit_.value.code == 2 or exit_.value.code == 1
    assert str(zoo.root) in capsys.readouterr().err
    assert files(zoo.root) == before
    assert verify(zoo.root).problems == []


def test_other_places_may_be_written(zoo: Catalog, tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    places = [zoo.root / "report.html", zoo.root / "probes" / "a", tmp_path / "cache" / "a"]
    for path in places:
        check_foreign(path)


def test_files_and_folders_are_checked_when_they_are_written(zoo: Catalog) -> None:
    for write, name in ((whole_file, "HEAD"), (whole_folder, "weights")):
        opened: Any = write(zoo.root / name)
        with pytest.raises(CatalogError, match="would replace files"), opened:
            pass
    assert len(catalog.open(zoo.root).select()) == 5
