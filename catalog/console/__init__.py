"""Command lines: the program, its shared options, and everything that is printed.

No verb lives here: each package contributes its own. Nothing here reads a shard.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "main":
        raise AttributeError(f"module 'catalog.console' has no attribute {name!r}")
    import warnings

    from catalog.console.program import main

    warnings.warn(
        "catalog.console.main is catalog.console.program.main now; the old name goes with "
        "0.3.0. Install again: pip install --editable .",
        DeprecationWarning,
        stacklevel=2,
    )
    return main
