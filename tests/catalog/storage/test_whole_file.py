"""A file or folder is there whole, or the one before is, however writing ends."""

import ast
import os
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from catalog import CatalogError
from catalog.storage.temporaries import TEMPORARY, abandoned, delete_abandoned
from catalog.storage.whole_file import folder_of, whole_file
from catalog.storage.whole_folder import whole_folder


def write(path: Path, text: str = "new", **options: str) -> None:
    with whole_file(path, **options) as file:
        file.write(text.encode())


def test_ended_at_any_step_the_old_or_the_new_is_there(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "trials" / "whole_file_trials.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 60


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, CatalogError])
def test_an_error_in_between_keeps_the_old_and_leaves_nothing(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def half_a_file() -> None:
        with whole_file(tmp_path / "a") as file:
            file.write(b"half")
            raise error("mine")

    def half_a_folder() -> None:
        with whole_folder(tmp_path / "b") as folder:
            (folder / "half").write_text("half")
            raise error("mine")

    (tmp_path / "a").write_text("old")
    for work in (half_a_file, half_a_folder):
        with pytest.raises(error, match="mine"):
            work()
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_file_that_the_system_cuts_keeps_the_old(tmp_path: Path) -> None:
    """The system itself refuses: no file of this process may have more than 64 kB."""
    path = tmp_path / "a"
    path.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(CatalogError, match=r"Cannot write .*a: File too large\. Free"):
            write(path, "x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_text() == "old"


def test_permissions_are_those_of_before_or_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "new")
        with whole_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    (tmp_path / "old").touch(0o600)
    write(tmp_path / "old")

    def mode(name: str) -> int:
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    assert [mode(name) for name in ("new", "folder", "old")] == [0o640, 0o750, 0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").mkdir()
    for name in ("a", "b"):
        os.chown(tmp_path / name, 4321, 1234)
    write(tmp_path / "a")
    with whole_folder(tmp_path / "b"):
        pass
    for name in ("a", "b"):
        about = (tmp_path / name).stat()
        assert (about.st_uid, about.st_gid) == (4321, 1234)


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a").write_text("old")
    (tmp_path / "a").symlink_to("far/a")
    (tmp_path / "b").symlink_to("far/b")
    write(tmp_path / "a", "one")
    write(tmp_path / "b", "two")
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "b").is_symlink()
    assert (tmp_path / "far" / "a").read_text() == "one"
    assert (tmp_path / "far" / "b").read_text() == "two"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(CatalogError, match="Too many levels of symbolic links"):
        write(tmp_path / "loop")


def test_a_pipe_gets_all_of_it_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found: list[str] = []
    reader = threading.Thread(
        target=lambda: found.append((tmp_path / "pipe").read_text()), daemon=True
    )
    reader.start()
    write(tmp_path / "pipe", "all")
    reader.join(30)
    assert found == ["all"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    write(Path(os.devnull))
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_what_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"No such file.*Create its folder, or name ano"):
        write(tmp_path / "no" / "a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CatalogError, match=r"It is a folder\. Give --to FILE\."):
        write(tmp_path / "folder", instead="give --to FILE")
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError, match="It is a file"), whole_folder(tmp_path / "file"):
        pass
    with pytest.raises(CatalogError, match="Not a directory"):
        folder_of(tmp_path / "file" / "a" / "b")


@pytest.mark.skipif(not os.geteuid(), reason="nothing is refused to root")
def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").touch(0o400)
    with pytest.raises(CatalogError, match="Permission denied"):
        write(tmp_path / "a")


def test_long_names_have_temporary_ones(tmp_path: Path) -> None:
    write(tmp_path / ("\N{GREEK SMALL LETTER OMEGA}" * 127))
    with whole_folder(tmp_path / ("b" * 255)):
        pass
    assert len(os.listdir(tmp_path)) == 2


def test_only_what_nobody_writes_is_swept(tmp_path: Path) -> None:
    dead = tmp_path / ".a.01234567.tmp"
    dead.write_text("half")
    (tmp_path / ".a.mine.tmp").write_text("mine")
    (tmp_path / ".a.76543210.tmp").symlink_to(tmp_path / ".a.mine.tmp")
    with whole_file(tmp_path / "b") as file:
        (living,) = (p for p in tmp_path.iterdir() if ".b." in p.name)
        assert TEMPORARY.fullmatch(living.name)
        assert not abandoned(living)
        assert not delete_abandoned(living)
        write(tmp_path / "b", "other")  # somebody else, at the same time
        file.write(b"last")
    assert (tmp_path / "b").read_text() == "last"
    assert abandoned(dead)
    write(tmp_path / "c")
    assert dead.exists()
    write(tmp_path / "a")
    assert not dead.exists()
    left = {".a.mine.tmp", ".a.76543210.tmp", "a", "b", "c"}
    assert set(os.listdir(tmp_path)) == left


def test_a_folder_that_was_left_by_a_killed_process_is_swept(tmp_path: Path) -> None:
    dead = tmp_path / ".nets.01234567.tmp"
    (dead / "deep").mkdir(parents=True)
    with whole_folder(tmp_path / "nets"):
        assert not dead.exists()
    assert os.listdir(tmp_path) == ["nets"]


STORAGE = {
    "catalog/storage/folder.py", "catalog/writer.py", "catalog/index/cache.py",
    "catalog/storage/whole_file.py", "catalog/storage/whole_folder.py",
    "catalog/storage/reserve.py", "catalog/remote/folder_store.py",
    "catalog/remote/download.py", "catalog/remote/mirror.py", "catalog/remote/publish.py",
    "catalog/remote/sparse_file.py",
}  # fmt: skip
"""What writes files by itself, each with kill tests of its own."""

LOCKS = {"zoo/training/train.py", "zoo/workers/serving.py"}
"""What opens a lock or a pipe for writing."""

BY_HAND = {"write_text", "write_bytes", "rename", "copyfile", "copy", "move", "mkstemp"}
PACKAGES = ("catalog", "zoo", "probes", "generators")


def by_hand(node: ast.Call) -> bool:
    """Whether a call writes a file under its final name, or renames one."""
    function = node.func
    name = getattr(function, "attr", getattr(function, "id", ""))
    owner = getattr(getattr(function, "value", None), "id", "")
    if name in BY_HAND or (name == "replace" and owner == "os"):
        return name not in ("copy", "move") or owner == "shutil"
    if name == "savefig":  # into an open file, or memory
        return "format" not in {keyword.arg for keyword in node.keywords}
    mode = [a.value for a in node.args if isinstance(a, ast.Constant)]
    modes = [m for m in mode if isinstance(m, str) and {*m} <= {*"rwxabt+"} and m]
    return name in ("open", "fdopen") and any({*"wxa+"} & {*m} for m in modes)


def test_nothing_else_writes_files_by_hand() -> None:
    """Whoever adds a file that users keep is led to `whole_file`."""
    root = Path(__file__).parents[3]
    found = set()
    for path in sorted(p for package in PACKAGES for p in (root / package).rglob("*.py")):
        name = path.relative_to(root).as_posix()
        calls = [
            n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)
        ]
        if any(by_hand(call) for call in calls):
            found.add(name)
    assert found - STORAGE - LOCKS == {
        "catalog/card/dataset_card.py",  # into the folder in which a publish is staged
        "catalog/formats/export.py",  # into a temporary folder
        "catalog/remote/range_list.py",  # the cache's list of what has arrived
    }


def test_a_descriptor_is_written_to_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    with log.open("ab", buffering=0) as appended:
        with whole_file(f"/dev/fd/{appended.fileno()}") as file:
            file.write(b"page\n")
        appended.write(b"after\n")
    assert log.read_bytes() == b"before\npage\nafter\n"
