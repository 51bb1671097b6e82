"""Command line: the program, the shared options and all printing.

The commands themselves are defined by each package. No module here reads a shard.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "main":
        raise AttributeError(f"module 'catalog.console' has no attribute {name!r}")
    import warnings

    from catalog.console.program import main

    warnings.warn(
        "catalog.console.main is now catalog.console.program.main; version 0.3.0 removes "
        "the old name. Install phasezoo again: pip install --editable .",
        DeprecationWarning,
        stacklevel=2,
    )
    return main
