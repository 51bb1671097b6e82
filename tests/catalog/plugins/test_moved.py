"""Import paths that the documentation of earlier versions named."""

import importlib
import sys

import pytest

from catalog.plugins.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_gives_the_same_things_and_names_the_new_one(old: str) -> None:
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {MOVED[old]}"):
        found = importlib.import_module(old)
    new = importlib.import_module(MOVED[old])
    names = [name for name in vars(new) if not name.startswith("__")]
    assert names
    assert all(getattr(found, name) is getattr(new, name) for name in names)
    assert new.__spec__ is not None
    assert new.__spec__.name == MOVED[old]


def test_other_names_are_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("catalog.no_such_module")


def test_programs_that_were_installed_before_start() -> None:
    import catalog.console
    from catalog.console.program import main

    with pytest.warns(DeprecationWarning, match="is now catalog.console.program.main"):
        assert catalog.console.main is main
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = catalog.console.nonsense
